import { assert, assertEquals } from "@std/assert";
import {
  LowbitError,
  type PlannedTensor,
  type QuantizedTensor,
  type SchemeReference,
  type SideTensor,
} from "../../spec/mod.ts";
import { encodePlain } from "../containers/plain.ts";
import { resolveScheme, schemes } from "../lookup.ts";
import { dequantize } from "./coded.ts";
import { lowbitTarget } from "./lowbit.ts";
import { type Content, noise, openMemory, quantizeReference, writeTarget } from "./testing.ts";

const target = lowbitTarget({});

function coded(
  name: string,
  scheme: SchemeReference,
  rows: number,
  columns: number,
  side?: SideTensor[],
): [PlannedTensor, QuantizedTensor] {
  const resolved = resolveScheme(scheme);
  const tensor = quantizeReference(resolved, noise(rows * columns, rows + columns), rows, columns);
  return [
    { name, shape: [rows, columns], storage: { kind: "coded", scheme: resolved }, linear: true },
    side ? { ...tensor, side } : tensor,
  ];
}

function plain(name: string, values: Float32Array): [PlannedTensor, Uint8Array] {
  const storage = { kind: "plain" as const, type: "bfloat16" as const };
  return [
    { name, shape: [values.length], storage, linear: false },
    encodePlain("bfloat16", values),
  ];
}

const code = (work: Promise<unknown>) =>
  work.then(() => "none", (e) => e instanceof LowbitError ? e.code : String(e));

/** Every scheme of the catalog that holds any width; others get a width that they hold. */
function everyScheme(): [PlannedTensor, QuantizedTensor][] {
  return schemes.ids().filter((id) => resolveScheme(id).granularity.kind !== "token").map((id) => {
    const { tail } = resolveScheme(id);
    return coded(`w.${id}.weight`, id, 5, tail === "short" ? 77 : 128);
  });
}

Deno.test("lowbit: every scheme of the catalog reads back, code for code, short tails too", async () => {
  const tensors = everyScheme();
  const checkpoint = await openMemory(await writeTarget(target, tensors));
  assertEquals(checkpoint.kind, "lowbit");
  assertEquals([...checkpoint.tensors.keys()], tensors.map(([planned]) => planned.name));
  for (const [planned, tensor] of tensors) {
    const stored = checkpoint.tensors.get(planned.name)!;
    const { unrounded: _, unroundedZeros: __, ...parameters } = tensor.parameters;
    assertEquals(await stored.quantized(), { ...tensor, parameters }, planned.name);
    const values = dequantize(tensor, {});
    assertEquals(await stored.read(), values);
    const columns = tensor.shape[1];
    assertEquals(
      await stored.read({ start: 2, end: 4 }),
      values.slice(2 * columns, 4 * columns),
      planned.name,
    );
    assertEquals((await stored.read({ start: 3, end: 3 })).length, 0);
    const fit = target.fit(planned);
    assert(fit.ok && fit.bytes === stored.bytes, planned.name);
    assertEquals(await code(stored.raw()), "FORMAT");
  }
});

Deno.test("lowbit: tiles of several rows, minima, tensor scales and a format of one's own", async () => {
  const own = {
    ...resolveScheme("nf4_b64"),
    id: "mine",
    element: {
      id: "my_three_bits",
      summary: "five values",
      family: "codebook" as const,
      bits: 3,
      order: "ascending" as const,
      values: [-1, -0.25, 0, 0.25, 1],
      thresholds: "midpoints" as const,
      repeats: false,
      cast: resolveScheme("nf4_b64").element.cast,
      source: "",
    },
  };
  const tensors = [
    coded(
      "block",
      { base: "int8_channel_sym", granularity: { kind: "block", rows: 4, columns: 8 } },
      10,
      21,
    ),
    coded("tensor", { base: "int8_channel_asym", granularity: { kind: "tensor" } }, 10, 21),
    coded("minimum", { base: "q4_1", tail: "short" }, 10, 45),
    coded("mine", own, 3, 100),
  ];
  const checkpoint = await openMemory(await writeTarget(target, tensors));
  for (const [{ name }, tensor] of tensors) {
    const stored = checkpoint.tensors.get(name)!;
    const values = dequantize(tensor, {});
    const [rows, columns] = tensor.shape;
    assertEquals(await stored.read(), values, name);
    for (let start = 0; start < rows; start++) {
      for (let end = start + 1; end <= rows; end += 2) {
        const some = await stored.read({ start, end });
        assertEquals(some, values.slice(start * columns, end * columns), `${name} ${start} ${end}`);
      }
    }
  }
  const storage = checkpoint.tensors.get("mine")!.storage;
  assert(storage.kind === "coded");
  assertEquals(storage.scheme.element, own.element);
});

Deno.test("lowbit: side tensors come back in their order, also for some rows", async () => {
  const sparse: SideTensor = {
    kind: "sparse",
    rows: new Uint32Array([0, 2, 2]),
    columns: new Uint32Array([5, 0, 63]),
    values: new Float32Array([3, -4, 5.5]),
  };
  const lowRank: SideTensor = {
    kind: "low_rank",
    rank: 2,
    left: noise(3 * 2, 5),
    right: noise(2 * 64, 6),
  };
  const tensors = [
    coded("none", "int4_g32_sym", 3, 64),
    coded("both", "int4_g32_sym", 3, 64, [lowRank, sparse]),
    coded("one", "int4_g32_sym", 3, 64, [sparse]),
  ];
  const output = await writeTarget(target, tensors);
  assertEquals([...output.files.keys()].sort(), [
    "config.json",
    "model.safetensors",
    "model.side.safetensors",
  ]);
  const checkpoint = await openMemory(output);
  assertEquals([...checkpoint.tensors.keys()], ["none", "both", "one"]);
  for (const [{ name }, tensor] of tensors) {
    const stored = checkpoint.tensors.get(name)!;
    assertEquals((await stored.quantized()).side, tensor.side, name);
    const values = dequantize(tensor, {});
    assertEquals(await stored.read(), values);
    assertEquals(await stored.read({ start: 1, end: 3 }), values.slice(64));
  }
  const alone = {
    ...output,
    files: new Map([...output.files].filter(([n]) => !n.includes("side"))),
  };
  assertEquals(await code(openMemory(alone)), "NOT_FOUND");
});

Deno.test("lowbit: equal inputs give equal bytes, and nothing of the source's dialect stays", async () => {
  const write = (config: Record<string, unknown>, texts: [string, string][]) =>
    writeTarget(target, [plain("norm", noise(4)), ...everyScheme()], {
      config,
      sidecars: new Map(texts),
    });
  const files: [string, string][] = [["tokenizer.json", "{}"], ["merges.txt", "a b"]];
  const a = await write({ b: 1, a: 2, quantization_config: { quant_method: "gptq" } }, files);
  const b = await write({ a: 2, b: 1 }, [...files].reverse());
  assertEquals([...a.files], [...b.files]);
  const checkpoint = await openMemory(a);
  assertEquals(checkpoint.config, { a: 2, b: 1 });
  assertEquals([...checkpoint.sidecars], [["merges.txt", "a b"], ["tokenizer.json", "{}"]]);
});

Deno.test("lowbit: activation schemes are kept, for plain weights as well", async () => {
  const activation = resolveScheme("int8_token");
  const [weight, bytes] = plain("p.weight", noise(4));
  const [other, tensor] = coded("q.weight", "int8_channel_sym", 2, 8);
  const tensors: [PlannedTensor, Content][] = [
    [{ ...weight, activation }, bytes],
    [{ ...other, activation }, tensor],
  ];
  const { activations } = await openMemory(await writeTarget(target, tensors));
  assertEquals([...activations!], [["p.weight", activation], ["q.weight", activation]]);
});

Deno.test("lowbit: wrong orders, shapes, scales and names are refused", async () => {
  const [planned, tensor] = coded("w", "int4_g32_asym", 2, 64);
  const wrong = (change: Partial<QuantizedTensor>) =>
    code(writeTarget(target, [[planned, { ...tensor, ...change }]]));
  assertEquals(await wrong({}), "none");
  assertEquals(await wrong({ shape: [64, 2] }), "SHAPE");
  assertEquals(await wrong({ codes: new Uint8Array(3) }), "SHAPE");
  const { scales, zeros } = tensor.parameters;
  assertEquals(await wrong({ parameters: { scales } }), "SHAPE");
  assertEquals(await wrong({ parameters: { scales: scales.map(() => NaN), zeros } }), "NON_FINITE");
  assertEquals(await wrong({ parameters: { scales, zeros: zeros!.map(() => 16) } }), "FORMAT");
  assertEquals(await wrong({ parameters: { scales, zeros: zeros!.map(() => 0.5) } }), "FORMAT");
  assertEquals(await code(writeTarget(target, [[planned, new Uint8Array(1)]])), "SHAPE");
  const twin = plain("w.codes", noise(1));
  assertEquals(target.conflicts([planned, twin[0]]).length, 1);
  assertEquals(await code(writeTarget(target, [[planned, tensor], twin])), "CONFLICT");
  const cube: PlannedTensor = { ...planned, shape: [2, 2, 32] };
  assertEquals(target.fit(cube).ok, false);
});
