/** `lowbit formats encode` of every number format and scheme, as a process. */

import { assertEquals } from "@std/assert";
import { createCodecs } from "../formats/codec.ts";
import { numberFormats, resolveScheme, schemes } from "../formats/lookup.ts";
import { openVectors } from "../formats/conformance/vectors.ts";
import { openCheckpoint } from "../formats/open.ts";
import { decodeElement, encodeElement } from "../formats/reference.ts";
import { referenceKernels } from "../kernels-wasm/reference.ts";
import { ROOT, runCli } from "./process.ts";
import { temporary, writeTensors } from "./temporary.ts";

/** Encodes one tensor through the command, and reads what it wrote. */
async function encodeByCommand(id: string, shape: readonly number[], values: Float32Array) {
  using folder = temporary();
  const [input, output] = [folder.at("in.safetensors"), folder.at("out.safetensors")];
  await writeTensors(input, new Map([["x", { shape: [...shape], values }]]));
  const { code, stderr } = await runCli(["formats", "encode", id, input, output]);
  assertEquals([code, stderr], [0, ""]);
  const checkpoint = await openCheckpoint(output);
  const parts = new Map<string, { type: unknown; values: Float32Array }>();
  for (const [name, { storage, read }] of checkpoint.tensors) {
    parts.set(name, {
      type: storage.kind === "plain" && storage.type,
      values: await read.call(checkpoint.tensors.get(name)),
    });
  }
  checkpoint.close();
  return parts;
}

const vectors = await openVectors(`${ROOT}/conformance`);

/** The tensors of the first entry that a format has with its own cast, or a scheme with its rule. */
async function oracleOf(kind: "number" | "scheme", id: string, ours: object) {
  const entry = vectors.manifest.entries.find((entry) =>
    entry.kind === kind && entry.id === id && !entry.skip && entry.hold === "exact" &&
    Object.entries({ ...entry.cast, ...entry.scale }).every(([key, value]) =>
      (ours as Record<string, unknown>)[key] === value
    )
  );
  return entry && await vectors.tensors(entry);
}

/** Runs steps two at a time, since each waits for a process. */
async function inPairs(ids: readonly string[], step: (id: string) => Promise<void>) {
  const rest = [...ids];
  const worker = async () => {
    for (let id = rest.shift(); id !== undefined; id = rest.shift()) await step(id);
  };
  await Promise.all([worker(), worker()]);
}

Deno.test("formats encode: every number format, as the oracles and the reference have it", async () => {
  await inPairs(numberFormats.ids(), async (id) => {
    const format = numberFormats.get(id);
    const oracle = await oracleOf("number", id, format.cast);
    const all = oracle
      ? oracle.x!.values as Float32Array
      : Float32Array.from({ length: 600 }, (_, i) => i < 300 ? i - 150 : (i - 450) / 64);
    const keeps = (x: number) => !Number.isNaN(x) || format.cast.nan !== "refuse";
    const x = all.filter(keeps);
    const codes = oracle
      ? [...oracle.codes!.values].filter((_, i) => keeps(all[i]))
      : [...x].map((value) => encodeElement(format, value));
    const parts = await encodeByCommand(id, [x.length], x);
    assertEquals([...parts.keys()], ["x.codes", "x.values"]);
    assertEquals(parts.get("x.codes")!.type, format.bits <= 8 ? "uint8" : "uint16", id);
    assertEquals([...parts.get("x.codes")!.values], codes, id);
    const values = codes.map((code) => decodeElement(format, code));
    assertEquals([...parts.get("x.values")!.values], values, id);
  });
});

Deno.test("no scheme has the id of a number format, for `formats encode` has one id", () => {
  assertEquals(numberFormats.ids().filter((id) => schemes.has(id)), []);
});

Deno.test("formats encode: every scheme, as the oracles and the reference have it", async () => {
  const codecs = createCodecs(referenceKernels());
  await inPairs(schemes.ids(), async (id) => {
    const scheme = resolveScheme(id);
    const oracle = await oracleOf("scheme", id, { ...scheme.element.cast, ...scheme.scale });
    const { shape, values: given } = (oracle ??
      await oracleOf("scheme", "int4_g32_sym", { apply: "divide" }))!.x!;
    // Where there is no oracle, scales must fit f16.
    const x = Float32Array.from(given, (v) => !oracle && Math.abs(v) > 1e4 ? v / 2 ** 40 : v);
    const expected = codecs.get(scheme).quantize(x, shape[0], shape[1]);
    const parts = await encodeByCommand(id, shape, x);
    const values = parts.get("x.values")!.values;
    if (oracle?.values) assertEquals(values, oracle.values.values, id);
    else assertEquals(values, codecs.get(expected.scheme).dequantize(expected), id);
    assertEquals([...parts.get("x.codes")!.values], [...expected.codes], id);
    assertEquals(parts.get("x.scales")!.values, expected.parameters.scales, id);
    assertEquals(parts.get("x.zeros")?.values, expected.parameters.zeros, id);
  });
});
