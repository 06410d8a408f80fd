/**
 * The workbench: kernels, codecs, containers, models, plugins, recipes and the engine, put together.
 * What the command line does, a program does with this.
 *
 * @module
 */

import { loadAutodiff } from "./autodiff/mod.ts";
import { embeddedPath } from "./embedded/mod.ts";
import { type BudgetPlan, planBudget } from "./engine/budget.ts";
import { cutWindows } from "./engine/calibration.ts";
import { type CacheChoice, openCache } from "./engine/cache.ts";
import { evaluateModel, streamModel } from "./engine/evaluate.ts";
import { checkpointLinears, type LinearOptions } from "./engine/executor.ts";
import { planRun, quantizeModel, type QuantizeResult } from "./engine/quantize.ts";
import { refuseConflicts } from "./engine/preflight.ts";
import { receiptText } from "./engine/receipt.ts";
import { seededRng } from "./engine/rng.ts";
import { createCodecs } from "./formats/codec.ts";
import { directoryOutput, fileOutput } from "./formats/containers/output.ts";
import { openCheckpoint } from "./formats/open.ts";
import type { UserFormats } from "./formats/lookup.ts";
import { createTargets } from "./formats/targets.ts";
import { parseYaml } from "./formats/yaml.ts";
import { loadKernels } from "./kernels-wasm/mod.ts";
import { openModel } from "./models/architecture.ts";
import type { StreamedModel } from "./models/evaluate.ts";
import { LanguageModel } from "./models/model.ts";
import { tokenizerFiles } from "./models/settings.ts";
import { createTokenizer, decodeStream, type Tokenizer } from "./models/tokenizer.ts";
import { PLUGINS } from "./plugins/mod.ts";
import { presetRecipe } from "./recipes/mod.ts";
import {
  type ByteSource,
  type Checkpoint,
  type Codecs,
  type EventSink,
  type Kernels,
  LowbitError,
  type Output,
  type Plan,
  type Plugin,
  type Recipe,
  recipeSchema,
  type Target,
  unknownName,
} from "./spec/mod.ts";

/** What a workbench is made with. */
export interface WorkbenchOptions {
  /** Threads of the kernels; 1 if absent, 0 for all cores. */
  threads?: number;
  /** Plugins beside the shipped ones. */
  plugins?: readonly Plugin[];
  /** Number formats and schemes beside those of the catalog. */
  formats?: UserFormats;
  /** Takes progress, warnings and reports. */
  onEvent?: EventSink;
}

/** What {@linkcode Workbench.quantize} needs. */
export interface QuantizeOptions {
  /** The checkpoint. */
  model: Checkpoint;
  /** A preset's name, or a recipe. */
  recipe: string | Recipe;
  /** Where it is written: a path, or an output such as `memoryOutput()`. */
  out: string | Output;
  /** The id of a target; `lowbit` if absent. */
  to?: string;
  /** Windows of token ids; from the shipped text if absent and needed. */
  calibration?: readonly Int32Array[];
  /** Bytes of memory that the plan may need. */
  maxMemory?: number;
  /** Replaces what is already at `out`. */
  overwrite?: boolean;
  /** Stops the run; nothing is left at `out`. */
  signal?: AbortSignal;
}

/** How windows are cut from a text. */
export interface WindowOptions {
  /** Tokens of a window; 512 or the model's context if absent. */
  length?: number;
  /** At most so many windows. */
  count?: number;
  /** Spread over the text, instead of the first ones. */
  spread?: boolean;
}

/** Tokens of a window, if nothing else is said. */
export const DEFAULT_CONTEXT = 512;

/**
 * Everything put together; made by {@linkcode createWorkbench}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKernels } from "./kernels-wasm/mod.ts";
 * import { Workbench } from "./workbench.ts";
 * using lowbit = new Workbench(await loadKernels());
 * const model = await lowbit.open("embedded");
 * const plan = lowbit.plan({ model, recipe: "rtn-w4g64" }); // reads headers only
 * assertEquals(plan.conflicts, []);
 * model.close();
 * ```
 */
export class Workbench implements Disposable {
  /** The kernels. */
  readonly kernels: Kernels;
  /** The codecs on them. */
  readonly codecs: Codecs;
  /** The plugins on offer. */
  readonly plugins: readonly Plugin[];
  /** What quantised models can be written as. */
  readonly targets: readonly Target[];
  readonly #onEvent?: EventSink;

  /** Puts kernels and plugins together. */
  constructor(kernels: Kernels, options: Omit<WorkbenchOptions, "threads"> = {}) {
    this.kernels = kernels;
    this.codecs = createCodecs(kernels, options.formats);
    this.plugins = joinPlugins(options.plugins ?? []);
    this.targets = createTargets({ kernels, codecs: this.codecs });
    this.#onEvent = options.onEvent;
  }

  /** Opens a checkpoint: a path, a URL, sources, or `embedded` for the shipped model. */
  open(source: string | readonly ByteSource[]): Promise<Checkpoint> {
    const { kernels, codecs } = this;
    return openCheckpoint(modelPath(source), { kernels, codecs });
  }

  /** The tokenizer of a checkpoint; `NOT_FOUND` if it has none. */
  tokenizer(model: Checkpoint): Tokenizer {
    const files = tokenizerFiles(model);
    if (files) return createTokenizer(files);
    throw new LowbitError("NOT_FOUND", "has no tokenizer", {
      file: model.name,
      field: "tokenizer.json",
      advice: "give token ids instead of text",
    });
  }

  /** Windows of token ids, without overlap or BOS, cut from the tokens of a whole text. */
  windows(model: Checkpoint, text: string, options: WindowOptions = {}): Int32Array[] {
    const { context } = openModel(model).hyperparameters;
    const length = options.length ?? Math.min(DEFAULT_CONTEXT, context);
    return cutWindows(this.tokenizer(model).encode(text), { ...options, length });
  }

  /** The windows that a recipe is calibrated on: of a text, or of the shipped one. */
  async calibration(model: Checkpoint, recipe: Recipe, text?: string): Promise<Int32Array[]> {
    const { samples, length } = recipe.calibration;
    const { context } = openModel(model).hyperparameters;
    return this.windows(model, text ?? await Deno.readTextFile(embeddedPath("calibration.txt")), {
      length: Math.min(length, context),
      count: samples,
      spread: true,
    });
  }

  /** The target with an id. */
  target(id = "lowbit"): Target {
    const found = this.targets.find((target) => target.id === id);
    if (found) return found;
    throw unknownName("target", id, this.targets.map((target) => target.id));
  }

  /** The plan of a run: every tensor, the size, the memory, every conflict. Reads headers only. */
  plan(options: Omit<QuantizeOptions, "out" | "overwrite" | "signal">): Plan {
    return planRun(this.#run(options)).plan;
  }

  /** Whether a recipe needs calibration data for a model. */
  needsCalibration(model: Checkpoint, recipe: string | Recipe): boolean {
    return planRun(this.#run({ model, recipe })).pipeline.needsCalibration;
  }

  /** Chooses schemes for a recipe with a budget: the recipe written out, and the Pareto front. */
  async planBudget(options: Omit<QuantizeOptions, "out" | "overwrite">): Promise<BudgetPlan> {
    const run = this.#run(options);
    const calibration = run.calibration ?? await this.calibration(options.model, run.recipe);
    const onWarning = (message: string) => this.#onEvent?.({ event: "warning", message });
    return await planBudget({ ...run, calibration, onWarning });
  }

  /** Quantises a checkpoint and writes it; see `engine/quantize.ts` for the promises. */
  async quantize(options: QuantizeOptions): Promise<QuantizeResult> {
    const { out, overwrite, signal } = options;
    const asked = this.#run(options);
    const run = asked.recipe.budget
      ? this.#run({ ...options, recipe: (await this.planBudget(options)).recipe })
      : asked;
    let { calibration } = options;
    if (!calibration) {
      const { plan, pipeline } = planRun(run);
      refuseConflicts({ ...plan, conflicts: beforeCalibration(plan.conflicts) });
      if (pipeline.needsCalibration) {
        calibration = await this.calibration(options.model, run.recipe);
      }
    }
    const directory = run.target.output === "directory";
    const output = typeof out !== "string"
      ? out
      : directory
      ? await directoryOutput(out, { overwrite })
      : await fileOutput(out, { overwrite });
    const result = await quantizeModel({ ...run, calibration, output, signal });
    if (typeof out === "string" && !directory) {
      await writeText(`${out}.receipt.json`, receiptText(result.receipt));
    }
    return result;
  }

  /**
   * A model that has read windows, as the reference of several evaluations. It is the caller's to
   * free.
   */
  stream(model: Checkpoint, windows: readonly Int32Array[]): Promise<StreamedModel> {
    const { kernels, codecs } = this;
    return streamModel({ kernels, codecs, windows, onEvent: this.#onEvent }, model, "reference");
  }

  /** The figures of a model on windows, beside a reference if there is one. */
  evaluate(
    options: {
      model: Checkpoint;
      windows: readonly Int32Array[];
      reference?: Checkpoint | StreamedModel;
      cache?: CacheChoice;
    } & LinearOptions,
  ): Promise<Record<string, number>> {
    const { kernels, codecs, plugins } = this;
    const { model: checkpoint, windows, reference, activations, cache } = options;
    const what = { checkpoint, reference, windows, activations, cache };
    return evaluateModel({ ...what, plugins, kernels, codecs, onEvent: this.#onEvent });
  }

  /** Loads a model for generation: all of its weights, packed ones as they are. */
  load(model: Checkpoint, options: LinearOptions = {}): Promise<LanguageModel> {
    const { kernels, codecs } = this;
    return LanguageModel.load({
      model: openModel(model),
      kernels,
      linears: checkpointLinears(kernels, codecs, model, options),
      progress: (done, total) =>
        this.#onEvent?.({ event: "progress", stage: "load", done, total, detail: "blocks" }),
    });
  }

  /** Continues a text; yields pieces of text as tokens complete them. */
  async *generate(
    options: {
      model: Checkpoint;
      prompt: string;
      tokens?: number;
      temperature?: number;
      seed?: number;
      onToken?: (id: number) => void;
      cache?: CacheChoice;
      onCache?: (bytes: { held: number; f32: number }) => void;
    } & LinearOptions,
  ): AsyncGenerator<string, void, void> {
    const { model, prompt, tokens = 64, temperature = 0, seed = 0 } = options;
    const tokenizer = this.tokenizer(model);
    const stream = decodeStream(tokenizer);
    const choice = options.cache && openCache({
      plugins: this.plugins,
      kernels: this.kernels,
      codecs: this.codecs,
      hyperparameters: openModel(model).hyperparameters,
      onWarning: (message) => this.#onEvent?.({ event: "warning", message }),
    }, options.cache);
    using language = await this.load(model, options);
    using cache = language.cache(choice?.policy);
    const ids = language.generate({
      prompt: tokenizer.encode(prompt),
      tokens,
      temperature,
      rng: seededRng(`generate/${seed}`),
      stop: tokenizer.eos === undefined ? [] : [tokenizer.eos],
      cache,
    });
    for await (const id of ids) {
      options.onToken?.(id);
      yield stream.push(id);
    }
    if (choice) options.onCache?.({ held: choice.bytes, f32: choice.fullBytes });
    yield stream.flush();
  }

  /** Stops the threads. */
  close(): void {
    this.kernels.close();
  }

  /** Stops the threads. */
  [Symbol.dispose](): void {
    this.close();
  }

  #run(options: Omit<QuantizeOptions, "out">) {
    const { recipe, model: checkpoint, calibration, maxMemory } = options;
    return {
      checkpoint,
      recipe: typeof recipe === "string" ? presetRecipe(recipe) : recipe,
      target: this.target(options.to),
      calibration,
      maxMemory,
      plugins: this.plugins,
      kernels: this.kernels,
      codecs: this.codecs,
      autodiff: loadAutodiff,
      onEvent: this.#onEvent,
    };
  }
}

/**
 * Loads the kernels and puts everything together.
 *
 * @example
 * ```ts
 * import { createWorkbench } from "./workbench.ts";
 * import { memoryOutput } from "./formats/containers/output.ts";
 *
 * using lowbit = await createWorkbench();
 * const model = await lowbit.open("embedded");
 * const out = memoryOutput();
 * const { plan } = await lowbit.quantize({ model, recipe: "rtn-w4g64", out });
 * plan.bits_per_weight < 10; // true
 * model.close();
 * ```
 */
export async function createWorkbench(options: WorkbenchOptions = {}): Promise<Workbench> {
  return new Workbench(await loadKernels({ threads: options.threads ?? 1 }), options);
}

/**
 * The recipe in a YAML or JSON text; `file` names it in errors.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseRecipe } from "./workbench.ts";
 * const text = "name: a\nassign: [{ select: ['*'], weight: nf4_b64 }]\npipeline: [{ use: rtn }]\n";
 * assertEquals(parseRecipe(text, "a.yaml").assign[0].weight, "nf4_b64");
 * ```
 */
export function parseRecipe(text: string, file = "recipe"): Recipe {
  return parseYaml(text, recipeSchema, file);
}

/**
 * What a model's name stands for; `embedded` is the shipped one (`./embedded` is a folder).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "./embedded/mod.ts";
 * import { modelPath } from "./workbench.ts";
 * assertEquals(modelPath("embedded"), embeddedPath("model"));
 * assertEquals(modelPath("./embedded"), "./embedded");
 * ```
 */
export function modelPath<T>(source: T): T | string {
  return source === "embedded" ? embeddedPath("model") : source;
}

/** The conflicts that calibration data would not solve. */
export function beforeCalibration(conflicts: Plan["conflicts"]): Plan["conflicts"] {
  return conflicts.filter(({ code }) => code !== "CALIBRATION");
}

function joinPlugins(more: readonly Plugin[]): Plugin[] {
  const plugins: Plugin[] = [...PLUGINS];
  for (const plugin of more) {
    if (plugins.some(({ meta }) => meta.name === plugin.meta.name)) {
      throw new LowbitError("PLUGIN", "has the name of another plugin", { file: plugin.meta.name });
    }
    plugins.push(plugin);
  }
  return plugins;
}

/** Writes a small file as a whole, or not at all. */
async function writeText(path: string, text: string): Promise<void> {
  const output = await fileOutput(path, { overwrite: true });
  const sink = await output.file(path);
  await sink.write(new TextEncoder().encode(text));
  await sink.close();
  await output.commit();
}
