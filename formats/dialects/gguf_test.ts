import { assert, assertEquals } from "@std/assert";
import {
  type GgufValue,
  LowbitError,
  type PlannedTensor,
  type SchemeReference,
} from "../../spec/mod.ts";
import { encodePlain } from "../containers/plain.ts";
import { resolveScheme } from "../lookup.ts";
import { dequantize } from "./coded.ts";
import { ggufTarget } from "./gguf.ts";
import { type Content, noise, openMemory, quantizeReference, writeTarget } from "./testing.ts";

const target = ggufTarget({});
const gguf = new Map<string, GgufValue>([
  ["general.architecture", { type: "string", value: "llama" }],
  ["tokenizer.ggml.tokens", { type: "array", items: "string", value: ["a", "b"] }],
]);

function coded(name: string, scheme: SchemeReference, rows: number, columns: number) {
  const resolved = resolveScheme(scheme);
  const storage = { kind: "coded" as const, scheme: resolved };
  const planned: PlannedTensor = { name, shape: [rows, columns], storage, linear: true };
  const x = noise(rows * columns, rows);
  return [planned, quantizeReference(resolved, x, rows, columns)] as const;
}

const code = (work: Promise<unknown>) =>
  work.then(() => "none", (e) => e instanceof LowbitError ? e.code : String(e));

Deno.test("GGUF target: blocks and plain floats read back; the file is the same each time", async () => {
  const f16 = (base: string): SchemeReference => ({ base, scale_format: "float16" });
  const blocks: [string, SchemeReference, string][] = [
    ["blk.0.a.weight", "q4_0", "ggml_q4_0"],
    ["blk.0.b.weight", "q8_0", "ggml_q8_0"],
    ["blk.0.c.weight", "q4_1", "ggml_q4_1"],
    ["blk.0.d.weight", f16("int4_g32_sym"), "ggml_q4_0"],
    ["blk.0.e.weight", f16("int8_g32_sym"), "ggml_q8_0"],
  ];
  const storage = { kind: "plain" as const, type: "float32" as const };
  const norm: PlannedTensor = { name: "output_norm.weight", shape: [7], storage, linear: false };
  const made = blocks.map(([name, scheme]) => coded(name, scheme, 3, 96));
  const tensors: [PlannedTensor, Content][] = [
    [norm, encodePlain("float32", noise(7))],
    ...made.map(([planned, tensor]) => [planned, tensor] as [PlannedTensor, Content]),
  ];
  const output = await writeTarget(target, tensors, { gguf });
  assertEquals([...output.files], [...(await writeTarget(target, tensors, { gguf })).files]);
  const checkpoint = await openMemory(output);
  assertEquals(checkpoint.naming, "gguf");
  assertEquals(checkpoint.gguf!.get("tokenizer.ggml.tokens")!.value, ["a", "b"]);
  assertEquals(checkpoint.config["general.quantization_version"], 2);
  assertEquals(checkpoint.config["general.file_type"], 2);
  assertEquals([...checkpoint.tensors.keys()], tensors.map(([planned]) => planned.name));
  assertEquals(await checkpoint.tensors.get("output_norm.weight")!.read(), noise(7));
  for (const [i, [name, , layout]] of blocks.entries()) {
    const stored = checkpoint.tensors.get(name)!;
    const [planned, tensor] = made[i];
    assert(stored.storage.kind === "coded" && stored.storage.layout.id === layout);
    assertEquals((await stored.quantized()).codes, tensor.codes, name);
    assertEquals(await stored.read(), dequantize(tensor, {}), name);
    assertEquals((await stored.raw()).length, stored.bytes);
    const fit = target.fit(planned);
    assert(fit.ok && fit.bytes === stored.bytes && fit.layout === layout);
  }
});

Deno.test("GGUF target: what it cannot hold is refused", async () => {
  const refused: [SchemeReference, number][] = [
    ["nf4_b64", 64],
    ["int4_g64_sym", 64],
    ["int4_g32_asym", 64],
    [{ base: "int4_g32_sym", scale_format: "float32" }, 64],
    [{ base: "q4_0", tail: "short" }, 40],
  ];
  for (const [scheme, columns] of refused) {
    const storage = { kind: "coded" as const, scheme: resolveScheme(scheme) };
    const fit = target.fit({ name: "a", shape: [2, columns], storage, linear: true });
    assert(!fit.ok && fit.advice.length > 0, JSON.stringify(scheme));
  }
  const plain = { kind: "plain" as const, type: "float64" as const };
  assertEquals(target.fit({ name: "a", shape: [2], storage: plain, linear: false }).ok, false);
  // llama.cpp aborts on vectors of half precision; the engine then stores them in f32.
  const half = { kind: "plain" as const, type: "bfloat16" as const };
  assertEquals(target.fit({ name: "a", shape: [2], storage: half, linear: false }).ok, false);
  assertEquals(target.fit({ name: "a", shape: [2, 2], storage: half, linear: false }).ok, true);
  const [planned, tensor] = coded("a", "q4_0", 2, 32);
  assertEquals(target.fit({ ...planned, name: "n".repeat(64) }).ok, false);
  assertEquals(await code(writeTarget(target, [[planned, tensor]])), "CONFLICT");
});
