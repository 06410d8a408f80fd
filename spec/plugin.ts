/**
 * The plugin contract. A plugin is a plain object: a manifest, an option schema and hooks.
 *
 * Each hook takes one named object and returns data; inputs are read-only. Nothing is registered:
 * whoever runs the engine hands it the plugins, and a recipe names them.
 *
 * @module
 */

import type { Autodiff, DiffReplacements, DiffScope, DiffTensor } from "./autodiff.ts";
import type { Codec, Codecs, VectorCodec } from "./codec.ts";
import type { Edge, Hyperparameters, LinearInfo } from "./graph.ts";
import type { Node } from "./graph_nodes.ts";
import type { Buffer, Kernels } from "./kernels.ts";
import type { ModelLearned, ModelLearner, ModelPlanner } from "./learning.ts";
import { checkManifest, PLUGIN_API_VERSION, type PluginMeta } from "./plugin_manifest.ts";
import type { SchemeReference } from "./scheme.ts";
import type { Schema } from "./schema.ts";
import type { QuantizedTensor, ResolvedScheme, SideTensor, VectorTensor } from "./tensor.ts";
import type { ModelOp, TransformOp } from "./transform.ts";
import type { VectorFormat } from "./vector_format.ts";

export * from "./plugin_manifest.ts";
export { LowbitError } from "./errors.ts";
export { type Schema, schema } from "./schema.ts";

/** Random numbers, reproducible on every machine. */
export interface Rng {
  /** A whole number in `[0, 2^32)`. */
  uint32(): number;
  /** Uniform in `[0, 1)`, with 53 bits. */
  uniform(): number;
  /** Normal with mean 0 and standard deviation 1. */
  normal(): number;
}

/** What every hook is given. */
export interface PluginContext<O = unknown> {
  /** The options of this step, checked and complete. */
  options: Readonly<O>;
  /** Random numbers for a label; seeded by recipe, plugin and label. */
  rng(label: string): Rng;
  /** The kernels. */
  kernels: Kernels;
  /** Number formats and schemes at work. */
  codecs: Codecs;
  /** Gradients, where the manifest asks for them. */
  autodiff?: Autodiff;
  /** Says something that the user should know; it lands in the receipt and on the screen. */
  warn(message: string): void;
}

/** Statistics of the inputs of one linear. Only what a plugin of the pipeline needs is there. */
export interface InputStatistics {
  /** Input channels. */
  columns: number;
  /** Rows (tokens) seen. */
  tokens: number;
  /** `X^T X`, `[columns, columns]`. */
  gram?: Float64Array;
  /** Largest magnitude of each channel. */
  absMax?: Float32Array;
  /** Mean magnitude of each channel. */
  absMean?: Float32Array;
  /** Smallest value of each channel. */
  min?: Float32Array;
  /** Largest value of each channel. */
  max?: Float32Array;
  /** Mean of each channel. */
  mean?: Float64Array;
  /** Mean square of each channel: collected, or of an importance matrix that the user gives. */
  meanSquare?: Float64Array;
  /**
   * Mean squares of the gradients of the model's negative log-likelihood by each element of the
   * weight, `[rows, columns]`: of the linear itself, not of its inputs.
   */
  fisher?: Float32Array;
  /** Custom statistics by plugin name. */
  custom: ReadonlyMap<string, unknown>;
}

/** A custom statistic of the inputs of one linear. Adding and merging must commute. */
export interface Statistic<T = unknown> {
  /** Takes a batch of inputs `[rows, columns]`. */
  add(x: Buffer<"f32">, rows: number, columns: number): void;
  /** Takes what another one has seen. */
  merge(other: Statistic<T>): void;
  /** The value that hooks get. */
  value(): T;
}

/** The weights of one block, by role. */
export interface BlockView {
  /** The block's number. */
  index: number;
  /** Its linears. */
  linears: readonly LinearInfo[];
  /** Parameters of the block in full precision, transforms applied: linears and norms, by name. */
  weight(name: string): Readonly<Float32Array>;
  /** Edges along which channels can be rescaled. */
  edges: readonly Edge[];
  /** Statistics of the inputs of a linear, by role. */
  statistics(role: string): InputStatistics;
  /** Numbers of the model: `heads`, `head_size`, ... */
  hyperparameters: Hyperparameters;
  /** The schemes that the recipe gives a linear, by role. */
  schemes(role: string): LinearSchemes;
}

/** The schemes of a linear. */
export interface LinearSchemes {
  /** Of its weight; absent for full precision and for a vector format. */
  weight?: ResolvedScheme;
  /** The vector format of its weight, if it has one instead of a scheme. */
  vector?: VectorFormat;
  /** Of its inputs; absent for full precision. */
  activation?: ResolvedScheme;
}

/** A model before anything of it is read. */
export interface ModelView {
  /** Numbers of the model: `heads`, `head_size`, ... */
  hyperparameters: Hyperparameters;
  /** Its linears. */
  linears: readonly LinearInfo[];
  /** The operations of every block. */
  graph: readonly Node[];
  /** Edges along which channels of a block can be changed. */
  edges: readonly Edge[];
  /** Parameters that are another one: `head` to `embedding`. */
  tied: ReadonlyMap<string, string>;
  /** The schemes that the recipe gives a linear, by id. */
  schemes: ReadonlyMap<string, LinearSchemes>;
}

/** What makes up for the error of a quantised weight. */
export interface Compensation {
  /** What is added to the weight. */
  side?: SideTensor[];
  /** What is added to the outputs, `[rows]`; they need a {@linkcode ModelOp} `bias`. */
  bias?: Float32Array;
}

/** One block for a learner: run it, and replace its quantised weights. */
export interface BlockLearner extends BlockView {
  /** The quantised weights so far, by role. */
  quantized: ReadonlyMap<string, QuantizedTensor>;
  /** Calibration inputs, `[tokens, hidden]`, one a window. */
  inputs: readonly Readonly<Float32Array>[];
  /** The outputs of the block for a window, with these weights in place of the original ones. */
  forward(window: number, weights: ReadonlyMap<string, Float32Array>): Float32Array;
  /**
   * The outputs for `x` `[windows, tokens, hidden]` inside a differentiated function. Linears (by
   * role) and parameters that are not replaced are those of full precision.
   */
  differentiate?(scope: DiffScope, x: DiffTensor, replaced?: DiffReplacements): DiffTensor;
}

/** What a learner makes of a block. */
export interface BlockLearned {
  /** Better quantised weights, by role. */
  quantized: Map<string, QuantizedTensor>;
  /**
   * Transforms that these weights belong to; applied and proven like all others. Needs `transforms`
   * in the manifest. A weight that they change and `quantized` lacks is quantised again.
   */
  transforms?: TransformOp[];
}

/** A key/value cache of one block during generation or evaluation. */
export interface CachePolicy {
  /** Takes keys and values of new tokens, `[tokens, kvHeads * headSize]`. */
  append(keys: Float32Array, values: Float32Array, tokens: number): void;
  /** Keys and values to attend over, `[length, kvHeads * headSize]`. */
  read(): { keys: Float32Array; values: Float32Array; length: number };
  /** Forgets everything from position `length` on. */
  truncate(length: number): void;
  /** Bytes that a real implementation of the policy holds now. */
  readonly bytes: number;
  /**
   * What is read for a token depends on how many came after it: the model then gives tokens one at
   * a time, so that each attends over what it would have seen when text is made.
   */
  readonly stepwise?: boolean;
}

/** Static scales that a checkpoint has for the cache of a block. */
export interface CacheScales {
  /** What keys and values are stored as. */
  element: "float8_e4m3fn" | "int8";
  /** The scale of keys, or one for each head. */
  keys: Float32Array;
  /** The same of values. */
  values: Float32Array;
}

/** Some scored positions of one window. Buffers are the caller's; read-only. */
export interface ScoredChunk {
  /** Positions. */
  rows: number;
  /** Size of the vocabulary. */
  vocabulary: number;
  /** Log-probabilities of the next token, `[rows, vocabulary]`. */
  logProbabilities: Buffer<"f32">;
  /** The same of the reference model, if there is one. */
  reference?: Buffer<"f32">;
  /** The token that did come next, at each position. */
  targets: Int32Array;
  /** The number of the window that these positions are of. */
  window?: number;
  /** The first of these positions in its window. */
  start?: number;
}

/** Adds up figures over the positions that it is shown. */
export interface Evaluator {
  /** Takes some positions. */
  add(chunk: ScoredChunk): void;
  /** The figures, by name; called once, at the end. */
  result(): Record<string, number>;
}

/** A plugin. All hooks are optional; each says how several plugins with it combine. */
export interface Plugin<O = unknown> {
  /** The manifest. */
  meta: PluginMeta;
  /** The options: strict, with a default and a description on every leaf. */
  options: Schema<O>;

  /** Unit: model. In order, each refines: other schemes for some linears, by id. */
  plan?(args: {
    context: PluginContext<O>;
    linears: readonly LinearInfo[];
    schemes: ReadonlyMap<string, LinearSchemes>;
  }): Map<string, { weight?: SchemeReference; activation?: SchemeReference }>;

  /**
   * Unit: model. Exactly one, where the recipe has a `budget`: what each linear, by id, is predicted
   * to cost in quality under each candidate. The engine chooses schemes within the budget.
   */
  planLosses?(args: { context: PluginContext<O>; model: ModelPlanner }): Map<string, number[]>;

  /** Unit: the inputs of a linear. Side by side: a custom statistic, kept under the plugin's name. */
  collect?(args: { context: PluginContext<O>; linear: LinearInfo }): Statistic;

  /**
   * Unit: model. In order, before anything is read: operations from a closed list, applied as
   * parameters are read, and proven by the engine.
   */
  transformModel?(args: { context: PluginContext<O>; model: ModelView }): ModelOp[];

  /** Unit: block. In order: operations from a closed list, applied and proven by the engine. */
  transform?(args: { context: PluginContext<O>; block: BlockView }): TransformOp[];

  /**
   * Unit: weight. In order, factors multiply: one for each tile of the weight, by which its range is
   * shrunk. The quantiser is given the weight clamped to these ranges.
   */
  clip?(args: {
    context: PluginContext<O>;
    linear: LinearInfo;
    weight: Readonly<Float32Array>;
    codec: Codec;
    statistics: InputStatistics;
  }): Float32Array | undefined;

  /** Unit: weight. Exactly one plugin of the pipeline claims each weight. */
  quantize?(args: {
    context: PluginContext<O>;
    linear: LinearInfo;
    weight: Readonly<Float32Array>;
    codec: Codec;
    statistics: InputStatistics;
  }): QuantizedTensor;

  /** Unit: weight in a vector format. Exactly one plugin of the pipeline claims each weight. */
  quantizeVector?(args: {
    context: PluginContext<O>;
    linear: LinearInfo;
    weight: Readonly<Float32Array>;
    codec: VectorCodec;
    statistics: InputStatistics;
  }): VectorTensor;

  /** Unit: weight. In order: what is added to the quantised weight, and to its outputs. */
  compensate?(args: {
    context: PluginContext<O>;
    linear: LinearInfo;
    weight: Readonly<Float32Array>;
    tensor: QuantizedTensor;
    codec: Codec;
    statistics: InputStatistics;
  }): Compensation;

  /** Unit: block. In order: better quantised weights, by role. */
  learn?(args: {
    context: PluginContext<O>;
    block: BlockLearner;
  }): Map<string, QuantizedTensor> | BlockLearned;

  /**
   * Unit: model. In order, once every weight is quantised: `model` is what reads back, and `linears`
   * those of it that have codes and that the step selects. Low-rank parts are added to weights, which
   * stay as they are. The engine holds the whole model in memory, and the target must have room for
   * more than weights.
   */
  learnModel?(args: {
    context: PluginContext<O>;
    model: ModelLearner;
    linears: readonly LinearInfo[];
  }): ModelLearned;

  /** Unit: the cache of a block. Exactly one plugin decides. */
  cache?(args: {
    context: PluginContext<O>;
    block: number;
    kvHeads: number;
    headSize: number;
    /** The scales that the checkpoint has for this block. */
    scales?: CacheScales;
  }): CachePolicy;

  /** Unit: scored positions. Side by side: named figures. */
  evaluate?(args: { context: PluginContext<O> }): Evaluator;
}

/**
 * Checks a plugin's manifest and its hooks at its definition, and keeps the types of its options. A
 * plugin for another version of the contract is left to whoever is asked to run it.
 *
 * @example
 * ```ts
 * import { z } from "zod";
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { definePlugin, PLUGIN_API_VERSION, type Plugin, schema } from "./plugin.ts";
 *
 * const nearest: Plugin<{ clip: number }> = definePlugin({
 *   meta: {
 *     name: "nearest",
 *     version: "1.0.0",
 *     apiVersion: PLUGIN_API_VERSION,
 *     summary: "round to nearest with a clipped range",
 *     needs: { statistics: [] },
 *     supports: {},
 *     determinism: "exact",
 *   },
 *   options: schema("options", z.strictObject({ clip: z.number().default(1).describe("range factor") })),
 *   quantize: ({ weight, linear, codec }) => codec.quantize(weight, linear.rows, linear.columns),
 * });
 * assertEquals(nearest.meta.name, "nearest");
 * const meta = { ...nearest.meta, version: "one" };
 * assertThrows(() => definePlugin({ ...nearest, meta }), Error, "nearest: meta.version");
 * ```
 */
export function definePlugin<O>(plugin: Plugin<O>): Plugin<O> {
  if (plugin.meta?.apiVersion === PLUGIN_API_VERSION) checkManifest(plugin);
  return plugin;
}
