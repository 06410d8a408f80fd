/**
 * The targets gptq, awq and bitsandbytes: what is written reads back; quantized_test.ts holds the
 * readers against the packages that own the dialects.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { LowbitError, type PlannedTensor, type SchemeReference } from "../../spec/mod.ts";
import { encodePlain } from "../containers/plain.ts";
import { resolveScheme } from "../lookup.ts";
import { createTargets } from "../targets.ts";
import { dequantize } from "./coded.ts";
import { type Content, noise, openMemory, quantizeReference, writeTarget } from "./testing.ts";

const targets = new Map(createTargets().map((target) => [target.id, target]));

const half = (base: string, element?: string): SchemeReference => ({
  base,
  scale_format: "float16",
  ...(element && { element }),
});

const HELD: [target: string, scheme: SchemeReference][] = [
  ["gptq", half("int4_g32_sym")],
  ["gptq", half("int4_g32_asym")],
  ["gptq", half("int4_g32_sym", "int2")],
  ["gptq", half("int4_g32_asym", "uint3")],
  ["gptq", half("int8_channel_sym")],
  ["awq", half("int4_g32_asym")],
  ["awq", half("int4_g64_sym")],
  ["bitsandbytes", "nf4_b64"],
  ["bitsandbytes", "nf4_b64_dq"],
  ["bitsandbytes", "fp4_b64"],
  ["bitsandbytes", "int8_channel_sym"],
  ["hqq", "int4_g64_float_zero"],
  ["hqq", "int4_channel_asym"],
  ["hqq", half("int8_g32_asym")],
  ["quanto", "int8_channel_sym"],
  ["quanto", "fp8_channel"],
  ["fp8", { base: "fp8_b128", granularity: { kind: "block", rows: 48, columns: 64 } }],
];

function coded(name: string, scheme: SchemeReference, rows = 64, columns = 128) {
  const resolved = resolveScheme(scheme);
  const storage = { kind: "coded" as const, scheme: resolved };
  const planned: PlannedTensor = { name, shape: [rows, columns], storage, linear: true };
  const tensor = quantizeReference(resolved, noise(rows * columns, rows), rows, columns);
  return [planned, tensor] as [PlannedTensor, typeof tensor];
}

function plain(name: string, shape: number[], linear = false): [PlannedTensor, Content] {
  const values = noise(shape.reduce((a, b) => a * b, 1));
  const storage = { kind: "plain" as const, type: "float32" as const };
  return [{ name, shape, storage, linear }, encodePlain("float32", values)];
}

Deno.test("packed targets: what is written reads back, value for value", async () => {
  for (const [id, scheme] of HELD) {
    const target = targets.get(id)!;
    const what = `${id}, ${JSON.stringify(scheme)}`;
    const [planned, tensor] = coded("a.weight", scheme);
    const tensors: [PlannedTensor, Content][] = [
      plain("norm.weight", [4]),
      [planned, tensor],
      plain("lm_head.weight", [4, 128], true),
    ];
    const checkpoint = await openMemory(await writeTarget(target, tensors));
    assertEquals(checkpoint.kind, id, what);
    assertEquals([...checkpoint.tensors.keys()], ["norm.weight", "a.weight", "lm_head.weight"]);
    const stored = checkpoint.tensors.get("a.weight")!;
    const fit = target.fit(planned);
    assert(fit.ok && fit.bytes === stored.bytes, what);
    const [values, expected] = [await stored.read(), dequantize(tensor, {})];
    const exact = !(id === "bitsandbytes" && scheme === "int8_channel_sym");
    values.forEach((value, i) => {
      const step = exact ? 0 : Math.abs(expected[i]) * 2 ** -22;
      assert(Math.abs(value - expected[i]) <= step, `${what}: ${value}, expected ${expected[i]}`);
    });
  }
});

Deno.test("packed targets: what they cannot hold is refused with an advice", () => {
  const refused: [target: string, scheme: SchemeReference, shape: [number, number]][] = [
    ["gptq", "int4_g32_sym", [64, 64]],
    ["gptq", half("int4_g32_sym", "int5"), [64, 64]],
    ["gptq", half("int4_g32_sym"), [48, 64]],
    ["gptq", half("int4_g64_sym"), [64, 96]],
    ["gptq", "nf4_b64", [64, 64]],
    ["gptq", "int4_g64_float_zero", [64, 64]],
    ["awq", half("int8_g32_asym"), [64, 64]],
    ["awq", half("int4_g32_asym"), [12, 64]],
    ["hqq", "int4_g64_sym", [64, 64]],
    ["hqq", half("int4_g64_asym"), [1, 64]],
    ["quanto", "int4_g64_float_zero", [64, 64]],
    ["quanto", "fp8_tensor", [64, 64]],
    ["quanto", "int4_g64_asym", [64, 256]],
    ["fp8", "fp8_channel", [64, 64]],
    ["bitsandbytes", "int4_g64_sym", [64, 64]],
    ["bitsandbytes", "int4_g64_asym", [64, 64]],
    ["bitsandbytes", "nf4_b64", [64, 96]],
    ["bitsandbytes", { base: "nf4_b64", granularity: { kind: "group", size: 48 } }, [64, 96]],
  ];
  for (const [id, scheme, [rows, columns]] of refused) {
    const [planned] = coded("a.weight", scheme, rows, columns);
    const fit = targets.get(id)!.fit(planned);
    assert(!fit.ok && fit.advice.length > 0, `${id}, ${JSON.stringify(scheme)}`);
  }
  for (const [id, scheme] of HELD) {
    const target = targets.get(id)!;
    const [planned] = coded("a.weight", scheme);
    assertEquals(target.fit({ ...planned, activation: resolveScheme("int8_token") }).ok, false);
    assertEquals(target.fit({ ...planned, linear: false }).ok, false);
    const other = coded("b.weight", id === "bitsandbytes" ? "nf4_b64" : half("int4_g128_sym"));
    const several = target.conflicts([planned, other[0]]).length;
    assertEquals(several, scheme === "nf4_b64" ? 0 : 1);
  }
});

Deno.test("packed targets: a zero point that the codes do not have is refused", async () => {
  const [planned, tensor] = coded("a.weight", half("int4_g32_asym"));
  tensor.parameters.zeros![0] = 16;
  const error = await writeTarget(targets.get("gptq")!, [[planned, tensor]]).catch((e) => e);
  assert(error instanceof LowbitError && error.code === "FORMAT");
});

Deno.test("quanto: groups make rows by the settings of the model; without them they are refused", async () => {
  const name = "model.layers.0.mlp.up_proj.weight";
  const [planned, tensor] = coded(name, "int4_g128_asym", 64, 256);
  const write = (config: Record<string, unknown>) =>
    writeTarget(targets.get("quanto")!, [[planned, tensor]], { config });
  const output = await write({ hidden_size: 256 });
  const stored = (await openMemory(output)).tensors.get(name)!;
  assertEquals(await stored.read(), dequantize(tensor, {}));
  assertEquals(
    await stored.read({ start: 5, end: 9 }),
    dequantize(tensor, {}).slice(5 * 256, 9 * 256),
  );
  const map = new TextDecoder().decode(output.files.get("quanto_qmap.json"));
  assertEquals(JSON.parse(map), {
    "model.layers.0.mlp.up_proj": { activations: "none", weights: "qint4" },
  });
  for (
    const [config, code] of [[{}, "UNSUPPORTED"], [{ hidden_size: 100 }, "MALFORMED"]] as const
  ) {
    const error = await openMemory(await write(config)).catch((e) => e);
    assert(error instanceof LowbitError && error.code === code);
  }
});
