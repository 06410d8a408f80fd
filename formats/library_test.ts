/** The list of tensors that programs are given: what is read, and how many bytes. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { ByteSource } from "../spec/mod.ts";
import { LowbitError } from "../spec/errors.ts";
import { blobSource, memorySource } from "./containers/source.ts";
import { open } from "./library.ts";

const golden = new URL("../tests/golden/", import.meta.url);
const WEIGHT = "model.layers.0.mlp.up_proj.weight";

/** A source that counts the bytes that are read of it. */
function counted(name: string, path: string): ByteSource & { bytes: number } {
  const inner = memorySource(name, Deno.readFileSync(new URL(path, golden)));
  return {
    ...inner,
    bytes: 0,
    read(offset, length) {
      this.bytes += length;
      return inner.read(offset, length);
    },
  };
}

Deno.test("open: slices of plain tensors read just their bytes", async () => {
  const source = counted("model.safetensors", "models/untied/model.safetensors");
  const checkpoint = await open([source]);
  const tensor = checkpoint.tensors.get(WEIGHT)!;
  assertEquals([tensor.format, tensor.shape, tensor.bytes], ["float32", [24, 16], 24 * 16 * 4]);
  assertEquals([tensor.scheme, tensor.layout], [undefined, undefined]);
  const all = await tensor.dequantize();
  const cost = async (work: () => Promise<unknown>) => {
    source.bytes = 0;
    const result = await work();
    return [source.bytes, result];
  };
  assertEquals(await cost(() => tensor.slice({ start: 3, end: 5 })), [128, all.slice(48, 80)]);
  const column = Float32Array.from({ length: 24 }, (_, row) => all[row * 16 + 7]);
  assertEquals(await cost(() => tensor.slice({}, { start: 7, end: 8 })), [24 * 4, column]);
  const corner = [4, 5].flatMap((row) => [...all.slice(row * 16 + 14, row * 16 + 16)]);
  assertEquals(
    await cost(() => tensor.slice({ start: 4, end: 6 }, { start: 14 })),
    [16, Float32Array.from(corner)],
  );
  assertEquals(await cost(() => tensor.slice({ start: 4, end: 4 })), [0, new Float32Array(0)]);
  const rows = await tensor.codes({ start: 1, end: 2 });
  assert(rows.kind === "plain");
  assertEquals([...new Float32Array(rows.bytes.slice().buffer)], [...all.slice(16, 32)]);
  for (const ranges of [[{ start: -1 }], [{ end: 25 }], [{}, {}, {}], [{ start: 2, end: 1 }]]) {
    const error = await assertRejects(() => tensor.slice(...ranges), LowbitError);
    assertEquals([error.code, error.field], ["SHAPE", WEIGHT]);
  }
});

Deno.test("open: slices and codes of quantised tensors read the bytes of their rows", async () => {
  const source = counted("golden.gguf", "containers/golden.gguf");
  const checkpoint = await open([source]);
  const tensor = checkpoint.tensors.get("q4_0")!;
  const all = await tensor.dequantize();
  source.bytes = 0;
  const part = await tensor.slice({ start: 1, end: 3 }, { start: 90 });
  assertEquals(source.bytes, 2 * 54);
  assertEquals([...part], [1, 2].flatMap((row) => [...all.slice(row * 96 + 90, row * 96 + 96)]));
  source.bytes = 0;
  const codes = await tensor.codes({ start: 2, end: 3 });
  assert(codes.kind === "coded");
  assertEquals([source.bytes, codes.tensor.shape, codes.tensor.codes.length], [54, [1, 96], 96]);
  const whole = await tensor.codes();
  assert(whole.kind === "coded");
  assertEquals(codes.tensor.codes, whole.tensor.codes.slice(192, 288));
});

Deno.test("open: a view in another order is sliced to the same values", async () => {
  const bytes = Deno.readFileSync(new URL("tensors/f4_fortran.npy", golden));
  using checkpoint = await open([blobSource(new File([bytes], "f4_fortran.npy"))]);
  const tensor = checkpoint.tensors.get("f4_fortran")!;
  const all = await tensor.dequantize();
  const wanted = [0, 1].flatMap((i) => [1, 2].map((j) => all[i * 12 + j * 4 + 3]));
  assertEquals([...await tensor.slice({}, { start: 1 }, { start: 3 })], wanted);
});
