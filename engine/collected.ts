/**
 * Statistics of a whole model that are collected apart from a run: over several batches or on several
 * machines, merged, kept in a file, and given to a run in place of what it would collect.
 *
 * @module
 */

import {
  type ByteSource,
  type Checkpoint,
  type InputStatistics,
  type Kernels,
  LowbitError,
  type PlainType,
  type StatisticName,
} from "../spec/mod.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import {
  entryBytes,
  readSafetensors,
  writeSafetensors,
} from "../formats/containers/safetensors.ts";
import { type ModelGraph, openModel } from "../models/architecture.ts";
import { embedWindows } from "../models/evaluate.ts";
import { LoadedBlock } from "./block.ts";
import { checkWindows } from "./calibration.ts";
import { hashBytes } from "./hash.ts";
import type { Pipeline } from "./pipeline.ts";
import { byInput, InputCollector, observeInputs } from "./statistics.ts";

/** Statistics of the inputs of all blocks of a model. */
export interface CollectedStatistics {
  /** Tokens that were seen. */
  tokens: number;
  /** By the block, then by the value of the graph that linears read. */
  blocks: ReadonlyMap<string, InputStatistics>[];
}

/** Statistics that can be merged: those of inputs, not of weights. */
export type MergeableStatistic = Exclude<StatisticName, "fisher">;

/** The arrays of a value's statistics, with their types, and how two of them become one. */
const ARRAYS = {
  gram: { type: "float64", merge: (a, b) => a + b },
  absMax: { type: "float32", merge: (a, b) => Math.max(a, b) },
  absMean: { type: "float32", merge: (a, b, share) => a + (b - a) * share },
  min: { type: "float32", merge: (a, b) => Math.min(a, b) },
  max: { type: "float32", merge: (a, b) => Math.max(a, b) },
  mean: { type: "float64", merge: (a, b, share) => a + (b - a) * share },
  meanSquare: { type: "float64", merge: (a, b, share) => a + (b - a) * share },
} as const satisfies Record<
  string,
  { type: PlainType; merge: (a: number, b: number, share: number) => number }
>;

type ArrayName = keyof typeof ARRAYS;
const NAMES = Object.keys(ARRAYS) as ArrayName[];

/**
 * Runs windows through the original blocks of a model and collects statistics of the inputs of their
 * linears. All of them are held in memory: a Gram matrix has 8 bytes for each pair of channels.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { collectStatistics, createWorkbench, mergeStatistics } from "../mod.ts";
 * using lowbit = await createWorkbench();
 * const model = await lowbit.open("embedded");
 * const collect = (...windows: Int32Array[]) =>
 *   collectStatistics({ model, kernels: lowbit.kernels, windows, needs: ["abs_max"] });
 * const [a, b] = [Int32Array.of(1, 2, 3), Int32Array.of(4, 5)];
 * const merged = mergeStatistics(await collect(a), await collect(b));
 * const whole = await collect(a, b);
 * assertEquals(merged.tokens, 5);
 * const [x, y] = [merged, whole].map(({ blocks }) => blocks[0].get("mlp.input")!);
 * assertEquals(x.absMax, y.absMax);
 * assert(x.absMean!.every((mean, i) => Math.abs(mean - y.absMean![i]) <= 1e-6 * mean));
 * model.close();
 * ```
 */
export async function collectStatistics(args: {
  /** The model, in full precision. */
  model: Checkpoint;
  /** The kernels. */
  kernels: Kernels;
  /** Windows of token ids. */
  windows: readonly Int32Array[];
  /** What is collected. */
  needs: Iterable<MergeableStatistic>;
  /** Called after each block. */
  onBlock?: (done: number, total: number) => void;
}): Promise<CollectedStatistics> {
  const { kernels, windows } = args;
  const model = openModel(args.model);
  const { vocab: vocabulary, context, blocks: total } = model.hyperparameters;
  checkWindows(windows, { vocabulary, context }, "windows");
  const needs = new Set<StatisticName>(args.needs);
  const blocks: CollectedStatistics["blocks"] = [];
  const states = await embedWindows(model, kernels, windows);
  try {
    for (let index = 0; index < total; index++) {
      const block = await LoadedBlock.load(model, kernels, index, new Map());
      const collectors = new Map(
        [...byInput(block.linears)].map(([input, [{ columns }]]) => [
          input,
          new InputCollector(kernels, columns, needs, new Map()),
        ]),
      );
      try {
        for (const [i, state] of states.entries()) {
          states[i] = block.run(state, windows[i].length, { observe: observeInputs(collectors) });
          state.free();
        }
        blocks.push(
          new Map([...collectors].map(([input, collector]) => [input, collector.finish()])),
        );
      } finally {
        for (const collector of collectors.values()) collector.free();
        block.free();
      }
      args.onBlock?.(index + 1, total);
    }
  } finally {
    for (const state of states) state.free();
  }
  return { tokens: windows.reduce((sum, { length }) => sum + length, 0), blocks };
}

/**
 * The statistics of two sets of windows of one model together. Sums and extremes are those of one
 * run over both, up to the rounding of one f64 addition; means that are f32 up to a few units in the
 * last place. Order changes no more than that. Errors: `SHAPE`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type CollectedStatistics, mergeStatistics } from "./collected.ts";
 * const seen = (tokens: number, most: number): CollectedStatistics => {
 *   const absMax = Float32Array.of(most);
 *   return { tokens, blocks: [new Map([["x", { columns: 1, tokens, absMax, custom: new Map() }]])] };
 * };
 * const { tokens, blocks } = mergeStatistics(seen(2, 5), seen(3, 4));
 * assertEquals([tokens, blocks[0].get("x")!.absMax], [5, Float32Array.of(5)]);
 * ```
 */
export function mergeStatistics(
  a: CollectedStatistics,
  b: CollectedStatistics,
): CollectedStatistics {
  if (a.blocks.length !== b.blocks.length) {
    throw mismatch("blocks", `${a.blocks.length} and ${b.blocks.length} of them`);
  }
  const blocks = a.blocks.map((block, index) => {
    const other = b.blocks[index];
    return new Map([...block].map(([input, mine]) => {
      const theirs = other.get(input);
      if (!theirs) throw mismatch(`blocks.${index}`, `${input} is in one of them only`);
      return [input, mergeInputs(mine, theirs, `blocks.${index}.${input}`)];
    }));
  });
  return { tokens: a.tokens + b.tokens, blocks };
}

function mergeInputs(a: InputStatistics, b: InputStatistics, field: string): InputStatistics {
  const tokens = a.tokens + b.tokens;
  const share = tokens === 0 ? 0 : b.tokens / tokens;
  const merged: InputStatistics = { columns: a.columns, tokens, custom: new Map() };
  for (const name of NAMES) {
    const [x, y] = [a[name], b[name]];
    if (!x && !y) continue;
    if (x?.length !== y?.length) throw mismatch(field, `${name} differs in what there is of it`);
    const { merge } = ARRAYS[name];
    const result = x!.slice();
    for (let i = 0; i < result.length; i++) result[i] = merge(x![i], y![i], share);
    Object.assign(merged, { [name]: result });
  }
  return merged;
}

function mismatch(field: string, problem: string): LowbitError {
  return new LowbitError("SHAPE", `are not of one model: ${problem}`, {
    file: "statistics",
    field,
    advice: "merge what was collected of one model, with the same needs",
  });
}

const nameOf = (block: number, input: string, what: string) => `${block}/${input}/${what}`;

/**
 * Statistics as the bytes of a safetensors file, to be kept or sent; {@linkcode readStatistics} has
 * them back exactly.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memorySource } from "../formats/containers/source.ts";
 * import { readStatistics, statisticsBytes } from "./collected.ts";
 * const x = { columns: 1, tokens: 3, gram: Float64Array.of(0.1), custom: new Map() };
 * const bytes = await statisticsBytes({ tokens: 3, blocks: [new Map([["x", x]])] });
 * const read = await readStatistics(memorySource("statistics", bytes));
 * assertEquals(read.blocks[0].get("x"), x);
 * ```
 */
export async function statisticsBytes(
  { tokens, blocks }: CollectedStatistics,
): Promise<Uint8Array<ArrayBuffer>> {
  const arrays = blocks.flatMap((block, index) =>
    [...block].flatMap(([input, statistics]) => [
      { name: nameOf(index, input, "tokens"), values: Float64Array.of(statistics.tokens) },
      ...NAMES.flatMap((what) => {
        const values = statistics[what];
        return values ? [{ name: nameOf(index, input, what), values }] : [];
      }),
    ])
  );
  const entries = arrays.map(({ name, values }) => ({
    name,
    type: values instanceof Float64Array ? "float64" as const : "float32" as const,
    shape: [values.length],
  }));
  const output = memoryOutput("statistics");
  const metadata = new Map([["statistics", "1"], ["tokens", String(tokens)]]);
  const writer = await writeSafetensors(await output.file("statistics"), entries, metadata);
  for (const { name, values } of arrays) {
    await writer.write(name, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  await writer.finish();
  await output.commit();
  return output.files.get("statistics")!;
}

/**
 * Reads what {@linkcode statisticsBytes} wrote. Errors: `MALFORMED`, and those of safetensors.
 *
 * @example
 * ```ts
 * import { assertRejects } from "@std/assert";
 * import { memorySource } from "../formats/containers/source.ts";
 * import { readStatistics } from "./collected.ts";
 * await assertRejects(() => readStatistics(memorySource("x", new Uint8Array(4))), Error, "x");
 * ```
 */
export async function readStatistics(source: ByteSource): Promise<CollectedStatistics> {
  const { tensors, metadata } = await readSafetensors(source);
  const fail = (field: string) =>
    new LowbitError("MALFORMED", "holds no statistics of lowbit", {
      ...{ file: source.name, field },
      advice: "give a file of statisticsBytes",
    });
  const tokens = Number(metadata.get("tokens"));
  if (metadata.get("statistics") !== "1" || !Number.isSafeInteger(tokens)) throw fail("metadata");
  const blocks: Map<string, InputStatistics>[] = [];
  for (const place of tensors) {
    const [, number, input, what] = /^(\d{1,6})\/(.+)\/(\w+)$/.exec(place.name) ?? [];
    const known = what === "tokens" ? "float64" : ARRAYS[what as ArrayName]?.type;
    if (number === undefined || place.type !== known) throw fail(place.name);
    const index = Number(number);
    if (index > blocks.length) throw fail(place.name);
    const block = blocks[index] ??= new Map();
    const bytes = await source.read(place.offset, entryBytes(place));
    const values = known === "float64"
      ? new Float64Array(bytes.slice().buffer)
      : new Float32Array(bytes.slice().buffer);
    if (what === "tokens") {
      block.set(input, { columns: 0, tokens: values[0], custom: new Map() });
      continue;
    }
    const statistics = block.get(input);
    if (!statistics) throw fail(place.name);
    const columns = what === "gram" ? Math.sqrt(values.length) : values.length;
    if (!Number.isInteger(columns) || statistics.columns > 0 && statistics.columns !== columns) {
      throw fail(place.name);
    }
    block.set(input, { ...statistics, columns, [what]: values });
  }
  return { tokens, blocks };
}

/** What is wrong with statistics that are given to a run. */
export function checkStatistics(
  given: CollectedStatistics,
  model: ModelGraph,
  { steps, recipe, statistics, hasStatic, collectsImportance }: Pipeline,
): void {
  const fail = (problem: string, advice: string, field?: string) =>
    new LowbitError("CONFLICT", problem, { file: "statistics", field, advice });
  const collects = steps.find(({ plugin }) => plugin.collect);
  const changes = steps.find(({ plugin }) => plugin.transformModel);
  const wrong = collects ?? changes;
  if (wrong || recipe.propagate === "quantized") {
    throw fail(
      wrong
        ? `do not hold behind ${wrong.plugin.meta.name}`
        : "are of the original blocks, and propagate is quantized",
      "leave them out, so that the run collects its own",
    );
  }
  for (const linear of model.linears) {
    if (linear.block === undefined) continue;
    const found = given.blocks[linear.block]?.get(linear.input);
    const needs = [...statistics(linear)].filter((name) => name !== "fisher");
    if (needs.length === 0 && !hasStatic && !collectsImportance) continue;
    const missing = needs.find((name) => !found || HELD[name].some((key) => !found[key]));
    if (!missing && (!found || found.columns === linear.columns)) continue;
    throw fail(
      missing ? `lack ${missing}` : `are of ${found!.columns} channels, not ${linear.columns}`,
      missing ? "collect them with all that the recipe needs" : "give those of this model",
      linear.id,
    );
  }
}

/** The arrays that a statistic is. */
const HELD: Record<MergeableStatistic, ArrayName[]> = {
  gram: ["gram"],
  abs_max: ["absMax"],
  abs_mean: ["absMean"],
  moments: ["min", "max", "mean"],
  mean_square: ["meanSquare"],
};

/** What tells statistics apart. */
export async function hashStatistics(given: CollectedStatistics): Promise<string> {
  return hashBytes(await statisticsBytes(given));
}
