import { assert, assertEquals } from "@std/assert";
import { type ErrorCode, LowbitError } from "../spec/mod.ts";
import { memoryOutput } from "./containers/output.ts";
import { type SafetensorsEntry, writeSafetensors } from "./containers/safetensors.ts";
import { memorySource } from "./containers/source.ts";
import { openCheckpoint } from "./open.ts";

const text = (value: unknown) =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

/** A safetensors file of U8 vectors of one element. */
async function weights(names: string[], metadata?: Record<string, string>): Promise<Uint8Array> {
  const output = memoryOutput();
  const entries = names.map((name): SafetensorsEntry => ({ name, type: "uint8", shape: [1] }));
  const map = metadata && new Map(Object.entries(metadata));
  const writer = await writeSafetensors(await output.file("a"), entries, map);
  for (const [i, name] of names.entries()) await writer.write(name, new Uint8Array([i]));
  await writer.finish();
  await output.commit();
  return output.files.get("a")!;
}

type Files = Record<string, Uint8Array>;

const open = (files: Files) =>
  openCheckpoint(Object.entries(files).map(([name, bytes]) => memorySource(`dir/${name}`, bytes)));

const CONFIG = { "config.json": text({ model_type: "llama" }) };
const INDEX = "model.safetensors.index.json";
const index = (map: unknown) => ({ [INDEX]: text({ weight_map: map }) });

Deno.test("open: shards in order, only those that the index names", async () => {
  const checkpoint = await open({
    ...CONFIG,
    ...index({ a: "m-00001-of-00002.safetensors", b: "m-00002-of-00002.safetensors" }),
    "m-00002-of-00002.safetensors": await weights(["b"]),
    "m-00001-of-00002.safetensors": await weights(["a", "extra"]),
    "other.safetensors": await weights(["a"]),
    "tokenizer.json": text("{}"),
    "README.md": text("no"),
  });
  assertEquals([...checkpoint.tensors.keys()], ["a", "extra", "b"]);
  assertEquals([...checkpoint.sidecars.keys()], ["tokenizer.json"]);
  assertEquals(checkpoint.files.map((f) => f.name), [
    "dir/m-00001-of-00002.safetensors",
    "dir/m-00002-of-00002.safetensors",
    "dir/config.json",
  ]);
  assertEquals(checkpoint.kind, "safetensors");
});

Deno.test("open: given sources stay open until the checkpoint is closed", async () => {
  const closed: string[] = [];
  const files = { ...CONFIG, "model.safetensors": await weights(["a"]) };
  const sources = Object.entries(files).map(([name, bytes]) => {
    const source = memorySource(name, bytes);
    return { ...source, close: () => void closed.push(name) };
  });
  const checkpoint = await openCheckpoint(sources);
  assertEquals(closed, []);
  for (const file of checkpoint.files) await file.read(0, file.size);
  checkpoint.close();
  assertEquals(closed.sort(), ["config.json", "model.safetensors"]);
});

Deno.test("open: content decides, not the name", async () => {
  const bytes = await weights(["a"]);
  assertEquals((await openCheckpoint([memorySource("weights", bytes)])).kind, "safetensors");
  const gguf = new Uint8Array(24);
  gguf.set([0x47, 0x47, 0x55, 0x46, 3]);
  assertEquals((await openCheckpoint([memorySource("model.safetensors", gguf)])).kind, "gguf");
});

Deno.test("open: rows outside a tensor are refused", async () => {
  const checkpoint = await openCheckpoint([memorySource("a", await weights(["a"]))]);
  const tensor = checkpoint.tensors.get("a")!;
  assertEquals([...await tensor.read({ start: 0, end: 1 })], [0]);
  for (const rows of [{ start: 0, end: 2 }, { start: 1, end: 0 }, { start: -1, end: 1 }]) {
    const error = await tensor.read(rows).then(() => undefined, (e) => e);
    assertEquals(error?.code, "SHAPE");
  }
});

const quantized = (quantization_config: unknown) => ({
  "config.json": text({ model_type: "llama", quantization_config }),
});

/** What is wrong, the files, the code, and what the message must name. */
/** Metadata of the dialect lowbit with online transforms. */
function withTransforms(version: number, transforms: unknown[]): string {
  return JSON.stringify({
    ...{ version, transforms, schemes: [], tensors: {}, activations: {} },
    ...{ side: false, lowbit: "0", recipe: "r" },
  });
}

const REFUSED: [what: string, files: () => Promise<Files>, code: ErrorCode, names: string][] = [
  [
    "no config.json",
    async () => ({ "model.safetensors": await weights(["a"]), x: text("") }),
    "NOT_FOUND",
    "config.json",
  ],
  [
    "no weights",
    () => Promise.resolve({ ...CONFIG, "a.txt": text("") }),
    "NOT_FOUND",
    "no weights",
  ],
  [
    "pickles",
    () => Promise.resolve({ ...CONFIG, "pytorch_model.bin": text("PK") }),
    "UNSUPPORTED",
    "safetensors",
  ],
  [
    "config is a list",
    async () => ({ "config.json": text("[]"), "model.safetensors": await weights(["a"]) }),
    "MALFORMED",
    "config.json",
  ],
  [
    "config with two equal keys",
    async () => ({
      "config.json": text('{"a":1,"a":2}'),
      "model.safetensors": await weights(["a"]),
    }),
    "MALFORMED",
    "config.json",
  ],
  [
    "several files, no index",
    async () => ({
      ...CONFIG,
      "a.safetensors": await weights(["a"]),
      "b.safetensors": await weights(["b"]),
    }),
    "NOT_FOUND",
    INDEX,
  ],
  [
    "shard outside",
    () => Promise.resolve({ ...CONFIG, ...index({ a: "../b.safetensors" }) }),
    "MALFORMED",
    "../b",
  ],
  [
    "absolute shard",
    () => Promise.resolve({ ...CONFIG, ...index({ a: "/b.safetensors" }) }),
    "MALFORMED",
    "/b",
  ],
  [
    "shard on a drive",
    () => Promise.resolve({ ...CONFIG, ...index({ a: "c:b.safetensors" }) }),
    "MALFORMED",
    "c:b",
  ],
  [
    "shard with a backslash",
    () => Promise.resolve({ ...CONFIG, ...index({ a: "..\\b.safetensors" }) }),
    "MALFORMED",
    "b.saf",
  ],
  [
    "shard is no safetensors file",
    () => Promise.resolve({ ...CONFIG, ...index({ a: "config.json" }) }),
    "MALFORMED",
    "config.json",
  ],
  [
    "shard is a number",
    () => Promise.resolve({ ...CONFIG, ...index({ a: 1 }) }),
    "MALFORMED",
    "weight_map",
  ],
  ["empty index", () => Promise.resolve({ ...CONFIG, ...index({}) }), "MALFORMED", "weight_map"],
  [
    "missing shard",
    () => Promise.resolve({ ...CONFIG, ...index({ a: "b.safetensors" }) }),
    "NOT_FOUND",
    "b.safetensors",
  ],
  [
    "tensor not in its shard",
    async () => ({
      ...CONFIG,
      ...index({ z: "b.safetensors" }),
      "b.safetensors": await weights(["a"]),
    }),
    "MALFORMED",
    "z",
  ],
  [
    "tensor in two shards",
    async () => ({
      ...CONFIG,
      ...index({ a: "a.safetensors", b: "b.safetensors" }),
      "a.safetensors": await weights(["a"]),
      "b.safetensors": await weights(["b", "a"]),
    }),
    "MALFORMED",
    "a",
  ],
  [
    "AQLM",
    async () => ({
      ...quantized({ quant_method: "aqlm" }),
      "model.safetensors": await weights(["a"]),
    }),
    "UNSUPPORTED",
    "aqlm",
  ],
  [
    "VPTQ",
    async () => ({
      ...quantized({ quant_method: "vptq" }),
      "model.safetensors": await weights(["a"]),
    }),
    "UNSUPPORTED",
    "vptq",
  ],
  [
    "GPTQ without a group size",
    async () => ({
      ...quantized({ quant_method: "gptq", bits: 4 }),
      "model.safetensors": await weights(["a"]),
    }),
    "MALFORMED",
    "group_size",
  ],
  [
    "no quant_method",
    async () => ({ ...quantized({}), "model.safetensors": await weights(["a"]) }),
    "UNSUPPORTED",
    "quant_method",
  ],
  [
    "a format of tomorrow",
    async () => ({
      ...quantized({ quant_method: "compressed-tensors", format: "mxfp5-pack-quantized" }),
      "model.safetensors": await weights(["a"]),
    }),
    "UNSUPPORTED",
    "mxfp5",
  ],
  [
    "packed names without settings",
    async () => ({ ...CONFIG, "model.safetensors": await weights(["x.qweight"]) }),
    "UNSUPPORTED",
    "x.qweight",
  ],
  [
    "bitsandbytes names",
    async () => ({ ...CONFIG, "model.safetensors": await weights(["x.weight.absmax"]) }),
    "UNSUPPORTED",
    "absmax",
  ],
  [
    "compressed names without settings",
    async () => ({ ...CONFIG, "model.safetensors": await weights(["x.weight_packed"]) }),
    "UNSUPPORTED",
    "weight_packed",
  ],
  [
    "two GGUF files",
    () => Promise.resolve({ "a.gguf": text(""), "b.gguf": text("") }),
    "CONFLICT",
    "a.gguf",
  ],
  [
    "lowbit metadata: not JSON",
    async () => ({ ...CONFIG, "model.safetensors": await weights(["a"], { lowbit: "x" }) }),
    "MALFORMED",
    "model.safetensors",
  ],
  [
    "lowbit metadata: version 99",
    async () => ({
      ...CONFIG,
      "model.safetensors": await weights(["a"], { lowbit: '{"version":99}' }),
    }),
    "UNSUPPORTED",
    "version 99",
  ],
  [
    "lowbit metadata: transforms in version 1",
    async () => ({
      ...CONFIG,
      "model.safetensors": await weights(["a"], { lowbit: withTransforms(1, []) }),
    }),
    "MALFORMED",
    "transforms",
  ],
  [
    "lowbit metadata: transforms that are none",
    async () => ({
      ...CONFIG,
      "model.safetensors": await weights(["a"], {
        lowbit: withTransforms(2, [{ op: "hadamard", value: "x", size: -1 }]),
      }),
    }),
    "SCHEMA",
    "0.size",
  ],
  [
    "lowbit metadata: no schemes",
    async () => ({
      ...CONFIG,
      "model.safetensors": await weights(["a"], { lowbit: '{"version":1}' }),
    }),
    "MALFORMED",
    "schemes",
  ],
  [
    "lowbit metadata: bad scheme",
    async () => ({
      ...CONFIG,
      "model.safetensors": await weights(["a"], { lowbit: '{"version":1,"schemes":[{}]}' }),
    }),
    "SCHEMA",
    "model.safetensors",
  ],
];

for (const [what, files, code, names] of REFUSED) {
  Deno.test(`open refuses: ${what}`, async () => {
    const error = await open(await files()).then(() => undefined, (e) => e);
    assert(error instanceof LowbitError, `${error?.stack ?? "no error"}`);
    assertEquals(error.code, code, error.message);
    assert(error.message.includes(names), error.message);
    assert(!error.line().includes("\n"));
  });
}

Deno.test("open refuses: single files that are nothing, pickled or missing", async () => {
  const code = (work: Promise<unknown>) => work.then(() => "none", (e) => e.code);
  const one = (name: string, bytes: Uint8Array) => openCheckpoint([memorySource(name, bytes)]);
  assertEquals(await code(one("a.bin", text("PK\x03\x04..."))), "UNSUPPORTED");
  assertEquals(await code(one("a.pt", new Uint8Array([0x80, 2, 0x8a]))), "UNSUPPORTED");
  assertEquals(await code(one("a.txt", text("hello, world"))), "UNSUPPORTED");
  assertEquals(await code(one("a", new Uint8Array(0))), "UNSUPPORTED");
  assertEquals(await code(one("a.gguf", new Uint8Array(0))), "TRUNCATED");
  assertEquals(await code(one("a.safetensors", new Uint8Array(0))), "TRUNCATED");
  assertEquals(await code(openCheckpoint([])), "NOT_FOUND");
  const here = decodeURIComponent(new URL(".", import.meta.url).pathname);
  assertEquals(await code(openCheckpoint(`${here}no-such-file`)), "NOT_FOUND");
  assertEquals(await code(openCheckpoint(here)), "NOT_FOUND");
});
