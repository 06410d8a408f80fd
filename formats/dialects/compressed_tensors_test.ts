import { assert, assertEquals } from "@std/assert";
import { LowbitError, type PlannedTensor, type SchemeReference } from "../../spec/mod.ts";
import { encodePlain } from "../containers/plain.ts";
import { resolveScheme } from "../lookup.ts";
import { dequantize } from "./coded.ts";
import { compressedTensorsTarget } from "./compressed_tensors.ts";
import {
  type Content,
  NO_SOURCE,
  noise,
  openMemory,
  quantizeReference,
  writeTarget,
} from "./testing.ts";

const target = compressedTensorsTarget({});

function coded(name: string, scheme: SchemeReference, rows: number, columns: number) {
  const resolved = resolveScheme(scheme);
  const planned: PlannedTensor = {
    name,
    shape: [rows, columns],
    storage: { kind: "coded", scheme: resolved },
    linear: true,
  };
  const tensor = quantizeReference(resolved, noise(rows * columns, rows), rows, columns);
  return [planned, tensor] as [PlannedTensor, typeof tensor];
}

function plain(name: string, shape: number[], linear = false): [PlannedTensor, Uint8Array] {
  const values = noise(shape.reduce((a, b) => a * b, 1));
  const storage = { kind: "plain" as const, type: "float32" as const };
  return [{ name, shape, storage, linear }, encodePlain("float32", values)];
}

const code = (work: Promise<unknown>) =>
  work.then(() => "none", (e) => e instanceof LowbitError ? e.code : String(e));

// deno-lint-ignore no-explicit-any
type Json = any;

const config = (files: ReadonlyMap<string, Uint8Array>): Json =>
  JSON.parse(new TextDecoder().decode(files.get("config.json"))).quantization_config;

Deno.test("compressed-tensors: what is written reads back, code for code", async () => {
  const schemes: SchemeReference[] = [
    "int4_g32_sym",
    "int4_g32_asym",
    "int8_channel_sym",
    "int8_channel_asym",
    { base: "int8_g64_asym", scale_format: "bfloat16" },
    { base: "int4_channel_asym", scale_format: "float16" },
    { base: "int8_channel_sym", granularity: { kind: "tensor" } },
    "fp8_channel",
    "fp8_tensor",
    { base: "fp8_b128", granularity: { kind: "block", rows: 8, columns: 48 } },
    "nvfp4_ct",
    "mxfp4",
    "mxfp6_e2m3",
    "mxfp8_e4m3",
  ];
  for (const [i, scheme] of schemes.entries()) {
    const one = coded(`layer.${i}.weight`, scheme, 13, 128);
    const output = await writeTarget(target, [plain("norm.weight", [4]), one]);
    const checkpoint = await openMemory(output);
    assertEquals(checkpoint.kind, "compressed-tensors");
    assertEquals([...checkpoint.tensors.keys()], ["norm.weight", `layer.${i}.weight`]);
    const stored = checkpoint.tensors.get(`layer.${i}.weight`)!;
    const back = await stored.quantized();
    const values = dequantize(one[1], {});
    assertEquals(back.codes, one[1].codes);
    assertEquals(back.parameters.scales, one[1].parameters.scales);
    assertEquals(back.parameters.zeros, one[1].parameters.zeros);
    assertEquals(await stored.read(), values);
    assertEquals(await stored.read({ start: 3, end: 9 }), values.slice(3 * 128, 9 * 128));
    const fit = target.fit(one[0]);
    assert(fit.ok && fit.bytes === stored.bytes);
  }
});

Deno.test("compressed-tensors: one scheme targets Linear and ignores what stays plain", async () => {
  const activation = resolveScheme("int8_token");
  const [planned, tensor] = coded("a.q_proj.weight", "int8_channel_sym", 4, 32);
  const output = await writeTarget(target, [
    plain("embed.weight", [8, 4]),
    [{ ...planned, activation }, tensor],
    plain("a.v_proj.weight", [4, 32], true),
  ]);
  const { config_groups, ignore, quant_method, format } = config(output.files);
  assertEquals([quant_method, format], ["compressed-tensors", "int-quantized"]);
  assertEquals(ignore, ["a.v_proj", "embed", "lm_head"]);
  assertEquals(Object.keys(config_groups), ["group_0"]);
  assertEquals(config_groups.group_0.targets, ["Linear"]);
  assertEquals(config_groups.group_0.weights.num_bits, 8);
  assertEquals(config_groups.group_0.weights.strategy, "channel");
  assertEquals(config_groups.group_0.input_activations.dynamic, true);
  const { activations } = await openMemory(output);
  assertEquals([...activations!.keys()], ["a.q_proj.weight"]);
});

Deno.test("compressed-tensors: several schemes name their linears", async () => {
  const tensors: [PlannedTensor, Content][] = [
    coded("a.weight", "int4_g32_sym", 4, 64),
    coded("b.weight", "int8_channel_sym", 4, 64),
    coded("c.weight", "int4_g32_sym", 4, 64),
    coded("lm_head.weight", "int8_channel_sym", 4, 64),
  ];
  const { config_groups, ignore } = config((await writeTarget(target, tensors)).files);
  assertEquals(config_groups.group_0.targets, ["a", "c"]);
  assertEquals(config_groups.group_1.targets, ["b", "lm_head"]);
  assertEquals(ignore, []);
});

Deno.test("compressed-tensors: what it cannot hold is refused with an advice", async () => {
  const refused: [SchemeReference, number][] = [
    ["nf4_b64", 64],
    ["mxfp4", 48],
    ["q4_1", 64],
    ["mxfp8_e5m2", 64],
    ["nvfp4_torchao", 64],
    ["int4_g32_sym", 48],
    [{ base: "int4_channel_sym", granularity: { kind: "tensor" } }, 64],
    [{ base: "int4_g32_sym", element: "int3" }, 64],
    [{ base: "int4_g32_sym", scale_format: "float8_e4m3fn" }, 64],
  ];
  for (const [scheme, columns] of refused) {
    const storage = { kind: "coded" as const, scheme: resolveScheme(scheme) };
    const fit = target.fit({ name: "a.weight", shape: [2, columns], storage, linear: true });
    assert(!fit.ok && fit.advice.length > 0, JSON.stringify(scheme));
  }
  const [planned, tensor] = coded("a.weight", "int4_g32_sym", 2, 64);
  assertEquals(target.fit({ ...planned, linear: false }).ok, false);
  assertEquals(target.fit({ ...planned, activation: resolveScheme("mxfp4") }).ok, false);
  assertEquals(target.conflicts([plain("x", [1])[0]]).length, 1);
  const side = {
    ...tensor,
    side: [{ kind: "low_rank" as const, rank: 1, left: noise(2), right: noise(64) }],
  };
  assertEquals(await code(writeTarget(target, [[planned, side]])), "CONFLICT");
  const head = coded("lm_head.weight", "int4_g32_sym", 2, 64);
  const tied = { config: { tie_word_embeddings: true } };
  assertEquals(await code(writeTarget(target, [head], tied)), "CONFLICT");
});

Deno.test("compressed-tensors: the scales of a key-value cache go along, with their scheme", async () => {
  const kv_cache_scheme = { num_bits: 8, type: "float", strategy: "tensor", dynamic: false };
  const source = { ...NO_SOURCE, config: { quantization_config: { kv_cache_scheme } } };
  const one = coded("model.layers.0.self_attn.q_proj.weight", "fp8_channel", 4, 64);
  const scales = ["k", "v"].map((kind) => plain(`model.layers.0.self_attn.${kind}_scale`, [1]));
  const output = await writeTarget(target, [one, ...scales], { source });
  assertEquals(config(output.files).kv_cache_scheme, kv_cache_scheme);
  const { tensors } = await openMemory(output);
  for (const [{ name }, bytes] of scales) {
    assertEquals(await tensors.get(name)!.raw(), bytes);
  }
  const without = await writeTarget(target, [one], { source });
  assertEquals(config(without.files).kv_cache_scheme, null);
});
