import { assertEquals } from "@std/assert";
import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { httpSource } from "../sources/http.ts";
import { blobSource, fileSource, memorySource } from "./source.ts";

const here = decodeURIComponent(
  new URL("../../tests/golden/containers/dtypes.safetensors", import.meta.url).pathname,
);
const code = (work: Promise<unknown>) =>
  work.then(() => "none", (e) => e instanceof LowbitError ? e.code : String(e));

/** What every source must do, on ten bytes 0 to 9. */
async function behaves(source: ByteSource): Promise<void> {
  assertEquals(source.size, 10);
  assertEquals([...await source.read(0, 10)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assertEquals([...await source.read(9, 1)], [9]);
  assertEquals((await source.read(10, 0)).length, 0);
  assertEquals(await code(source.read(5, 6)), "TRUNCATED");
  assertEquals(await code(source.read(11, 0)), "TRUNCATED");
  assertEquals(await code(source.read(-1, 1)), "TRUNCATED");
  assertEquals(await code(source.read(0, -1)), "TRUNCATED");
  assertEquals(await code(source.read(0.5, 1)), "TRUNCATED");
  assertEquals(await code(source.read(0, 2 ** 60)), "TRUNCATED");
  source.close();
}

const ten = Uint8Array.from({ length: 10 }, (_, i) => i);

Deno.test("source: memory and blobs read exactly what is asked for", async () => {
  await behaves(memorySource("ten", ten));
  await behaves(blobSource(new Blob([ten]), "ten"));
  assertEquals(blobSource(new File([ten], "a.gguf")).name, "a.gguf");
});

Deno.test("source: reads of a file that overlap in time do not mix", async () => {
  const source = await fileSource(here);
  const whole = Deno.readFileSync(here);
  const offsets = Array.from({ length: 50 }, (_, i) => (i * 997) % (whole.length - 16));
  const reads = await Promise.all(offsets.map((at) => source.read(at, 16)));
  offsets.forEach((at, i) => assertEquals(reads[i], whole.slice(at, at + 16)));
  assertEquals(await code(source.read(whole.length, 1)), "TRUNCATED");
  source.close();
  source.close();
  assertEquals(await code(source.read(0, 1)), "IO");
});

Deno.test("source: missing files and folders are one clear error", async () => {
  assertEquals(await code(fileSource(`${here}.missing`)), "NOT_FOUND");
  assertEquals(await code(fileSource(here.replace(/[^/]*$/, ""))), "IO");
});

/** A server of ten bytes that answers ranges, unless it is told to misbehave. */
function server(
  mode: "fine" | "whole" | "missing" | "broken" | "short" | "sizeless",
): typeof fetch {
  return (_url, init) => {
    const [, a, b] = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("range")!)!;
    const part = ten.slice(Number(a), Number(b) + 1);
    const range = mode === "sizeless" ? `bytes ${a}-${b}/*` : `bytes ${a}-${b}/10`;
    const respond = (body: Uint8Array<ArrayBuffer>, status: number) =>
      Promise.resolve(new Response(body, { status, headers: { "content-range": range } }));
    if (mode === "whole") return respond(ten, 200);
    if (mode === "missing") return respond(ten, 404);
    if (mode === "broken") return respond(ten, 500);
    return respond(mode === "short" && part.length > 1 ? part.slice(1) : part, 206);
  };
}

Deno.test("source: a URL with ranges behaves; a server without them is refused", async () => {
  const url = "https://example.invalid/a.gguf";
  const open = (mode: Parameters<typeof server>[0]) => httpSource(url, { fetch: server(mode) });
  await behaves(await open("fine"));
  assertEquals(await code(open("whole")), "UNSUPPORTED");
  assertEquals(await code(open("sizeless")), "UNSUPPORTED");
  assertEquals(await code(open("missing")), "NOT_FOUND");
  assertEquals(await code(open("broken")), "IO");
  assertEquals(await code((await open("short")).read(0, 5)), "TRUNCATED");
  const refuse = () => Promise.reject(new TypeError("connection refused"));
  assertEquals(await code(httpSource(url, { fetch: refuse as typeof fetch })), "IO");
});
