import { assertEquals, assertRejects } from "@std/assert";
import { LowbitError } from "../../spec/mod.ts";
import { readGguf } from "../containers/gguf.ts";
import { memorySource } from "../containers/source.ts";
import { readPieces } from "./sentencepiece.ts";

const FOLDER = `${import.meta.dirname}/../../tests/golden/sentencepiece`;
const bytes = (path: string) => Deno.readFileSync(`${FOLDER}/${path}`);

for (const name of ["prefix", "plain"]) {
  Deno.test(`pieces of ${name} are those that sentencepiece says`, async () => {
    const pieces = await readPieces(memorySource("m", bytes(`${name}/tokenizer.model`)));
    const gguf = memorySource("g", bytes(`${name}/vocabulary.gguf`));
    const { metadata } = await readGguf(gguf);
    for (const [key, { value }] of pieces) assertEquals(value, metadata.get(key)?.value, key);
    assertEquals(pieces.size, 8);
  });
}

Deno.test("a broken SentencePiece model is refused", async () => {
  const whole = bytes("prefix/tokenizer.model");
  const read = (data: Uint8Array<ArrayBuffer>) => readPieces(memorySource("m", data));
  await assertRejects(() => read(new Uint8Array(0)), LowbitError, "has no pieces");
  await assertRejects(() => read(whole.slice(0, 100)), LowbitError, "declares a field of");
  const odd = whole.slice();
  odd[0] = 0x0b; // a wire type that there is not
  await assertRejects(() => read(odd), LowbitError, "wire type 3");
});
