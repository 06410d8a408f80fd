import { assert, assertEquals } from "@std/assert";
import {
  LowbitError,
  type PlannedTensor,
  type SideTensor,
  vectorFormatSchema,
  type VectorTensor,
} from "../../spec/mod.ts";
import { resolveVectorFormat, vectorFormat } from "../lookup.ts";
import { createTargets } from "../targets.ts";
import { vectorCodec } from "../vectors/codec.ts";
import { lowbitTarget } from "./lowbit.ts";
import { type Content, noise, openMemory, writeTarget } from "./testing.ts";

const target = lowbitTarget({});

function vector(
  format: string | Record<string, unknown>,
  rows: number,
  columns: number,
  side?: SideTensor[],
): [PlannedTensor, VectorTensor] {
  const resolved = typeof format === "string"
    ? vectorFormat(format)
    : resolveVectorFormat(vectorFormatSchema.parse({ id: "own", summary: "own", ...format }));
  const tensor = vectorCodec(resolved).encode(noise(rows * columns, 7), rows, columns);
  return [
    {
      name: `w.${resolved.id}.weight`,
      shape: [rows, columns],
      storage: { kind: "vector", format: resolved },
      linear: true,
    },
    side ? { ...tensor, side } : tensor,
  ];
}

const code = (work: Promise<unknown>) =>
  work.then(() => "none", (e) => e instanceof LowbitError ? e.code : String(e));

const SCALE = { granularity: { kind: "block", rows: 3, columns: 16 }, format: "float16" };

/** A tensor of every family, with all kinds of parts and widths. */
const TENSORS: [PlannedTensor, Content][] = [
  vector("ovp4", 6, 48),
  vector("ovp8", 6, 48),
  vector("e8p", 6, 48),
  vector("lut3_channel", 6, 48),
  vector("vq_d2_k16", 40, 512),
  vector("vq_d4_k256", 6, 48),
  vector("aqlm_2x8", 6, 48),
  vector("bcq3_g128", 6, 200),
  vector("trellis_1mad_l10_k2", 48, 32),
  vector(
    {
      family: "grid",
      dimension: 4,
      bits: 11,
      points: { kind: "d4" },
      scale: { ...SCALE, statistic: "absmax", factors: [0.2, 0.3] },
    },
    8,
    40,
  ),
];

Deno.test("lowbit: every family reads back, code for code, and by rows", async () => {
  const checkpoint = await openMemory(await writeTarget(target, TENSORS));
  assertEquals([...checkpoint.tensors.keys()], TENSORS.map(([planned]) => planned.name));
  for (const [planned, tensor] of TENSORS as [PlannedTensor, VectorTensor][]) {
    const { name, shape: [rows, columns] } = planned;
    const stored = checkpoint.tensors.get(name)!;
    assertEquals(stored.storage, { kind: "vector", format: tensor.format }, name);
    assertEquals(await stored.vector!(), tensor, name);
    const values = vectorCodec(tensor.format).decode(tensor);
    assertEquals(await stored.read(), values, name);
    for (const [start, end] of [[0, 1], [rows - 1, rows], [1, rows - 1], [2, 2], [3, 6]]) {
      const some = await stored.read({ start, end });
      assertEquals(some, values.slice(start * columns, end * columns), `${name} ${start} ${end}`);
    }
    const fit = target.fit(planned);
    assert(fit.ok && fit.bytes === stored.bytes, name);
    assertEquals(await code(stored.quantized()), "FORMAT");
    assertEquals(await code(stored.raw()), "FORMAT");
  }
});

Deno.test("lowbit: side tensors of vector tensors come back", async () => {
  const sparse: SideTensor = {
    kind: "sparse",
    rows: new Uint32Array([0, 3]),
    columns: new Uint32Array([5, 0]),
    values: new Float32Array([3, -4]),
  };
  const [planned, tensor] = vector("e8p", 4, 16, [sparse]);
  const checkpoint = await openMemory(await writeTarget(target, [[planned, tensor]]));
  const stored = checkpoint.tensors.get(planned.name)!;
  assertEquals((await stored.vector!()).side, [sparse]);
  const values = vectorCodec(tensor.format).decode(tensor);
  assertEquals(await stored.read(), values);
  assertEquals(await stored.read({ start: 3, end: 4 }), values.slice(48));
});

Deno.test("lowbit: damaged vector tensors are refused", async () => {
  const [planned, tensor] = vector("vq_d4_k256", 4, 16);
  const wrong = (change: Partial<VectorTensor>) =>
    code(writeTarget(target, [[planned, { ...tensor, ...change }]]));
  assertEquals(await wrong({}), "none");
  assertEquals(await wrong({ shape: [16, 4] }), "SHAPE");
  assertEquals(await wrong({ codes: tensor.codes.slice(1) }), "SHAPE");
  assertEquals(await wrong({ codes: tensor.codes.map(() => 256) }), "FORMAT");
  assertEquals(await wrong({ tables: undefined }), "SHAPE");
  assertEquals(await wrong({ tables: tensor.tables!.map(() => NaN) }), "NON_FINITE");
  assertEquals(await wrong({ tables: tensor.tables!.map(() => 1 / 3) }), "FORMAT");
  const output = await writeTarget(target, [[planned, tensor]]);
  const change = (from: string, to: string) => {
    const bytes = output.files.get("model.safetensors")!;
    const text = new TextDecoder("latin1").decode(bytes);
    assert(text.includes(from), from);
    const changed = Uint8Array.from(text.replace(from, to), (c) => c.charCodeAt(0));
    return code(
      openMemory({ ...output, files: new Map([...output.files, ["model.safetensors", changed]]) }),
    );
  };
  const quoted = (text: string) => text.replaceAll('"', '\\"');
  assertEquals(await change(quoted('"dimension":4'), quoted('"dimension":8')), "MALFORMED");
  assertEquals(await change(quoted('"bits":8'), quoted('"bits":0')), "SCHEMA");
  assertEquals(await change(quoted('"version":2'), quoted('"version":9')), "UNSUPPORTED");
  assertEquals(await change(quoted('{"format":0'), quoted('{"format":7')), "MALFORMED");
});

Deno.test("targets without vector formats say so, and matrices that do not fit", () => {
  const [planned] = vector("e8p", 4, 16);
  for (const other of createTargets()) {
    const fit = other.fit(planned);
    assertEquals(fit.ok, other.id === "lowbit", other.id);
    if (!fit.ok) assertEquals(fit.advice, "write with --to lowbit");
  }
  const narrow = target.fit({ ...planned, shape: [4, 12] });
  assert(!narrow.ok && narrow.problem.includes("12 columns are not a multiple of 8"));
});
