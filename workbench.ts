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
import type { ConversionResult } from "./engine/convert/convert.ts";
import type { ConvertOptions } from "./engine/convert/request.ts";
import { convertToPath } from "./engine/convert/to_path.ts";
import { splitTarget } from "./engine/convert/wanted.ts";
import { type CacheChoice, openCache } from "./engine/cache.ts";
import { evaluateModel, streamModel } from "./engine/evaluate.ts";
import { checkpointLinears, type LinearOptions } from "./engine/executor.ts";
import { quantizeToPath } from "./engine/output_path.ts";
import {
  type CalibrationData,
  calibrationData,
  type CalibrationInput,
} from "./engine/calibration_data.ts";
import { planRun, quantizeModel, type QuantizeResult } from "./engine/quantize.ts";
import { beforeCalibration, refuseConflicts } from "./engine/preflight.ts";
import { seededRng } from "./engine/rng.ts";
import { createCodecs } from "./formats/codec.ts";
import { fileSource, memorySource } from "./formats/containers/source.ts";
import { open, type OpenedCheckpoint } from "./formats/library.ts";
import type { SourceOptions } from "./formats/sources/mod.ts";
import { createTargets } from "./formats/targets.ts";
import { parseYaml } from "./formats/yaml.ts";
import { loadKernels } from "./kernels-wasm/mod.ts";
import { webgpuKernels } from "./kernels-webgpu/mod.ts";
import { openModel } from "./models/architecture.ts";
import type { StreamedModel } from "./models/evaluate.ts";
import { LanguageModel } from "./models/model.ts";
import { tokenizerFiles } from "./models/settings.ts";
import { createTokenizer, decodeStream, type Tokenizer } from "./models/tokenizer.ts";
import { PLUGINS } from "./plugins/mod.ts";
import { presetRecipe, presetRecipes } from "./recipes/mod.ts";
import {
  type ByteSource,
  type Checkpoint,
  type Codecs,
  type Evaluator,
  type EventSink,
  type Kernels,
  LowbitError,
  type Plan,
  type Plugin,
  type Recipe,
  recipeSchema,
  type Target,
  unknownName,
} from "./spec/mod.ts";
import type { QuantizeOptions, WindowOptions, WorkbenchOptions } from "./workbench_options.ts";

export type { QuantizeOptions, WindowOptions, WorkbenchOptions };

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
  readonly #sources: SourceOptions;

  /** Puts kernels and plugins together. */
  constructor(kernels: Kernels, options: Omit<WorkbenchOptions, "threads" | "device"> = {}) {
    this.kernels = kernels;
    this.codecs = createCodecs(kernels, options.formats);
    this.plugins = joinPlugins(options.plugins ?? []);
    this.targets = createTargets({ kernels, codecs: this.codecs });
    this.#onEvent = options.onEvent;
    this.#sources = options.sources ?? {};
  }

  /**
   * Opens a checkpoint: a path, a URL (`https:`, `hf:`, `s3:`), sources, or `embedded` for the shipped
   * model.
   */
  open(
    source: string | readonly ByteSource[],
    options: SourceOptions = {},
  ): Promise<OpenedCheckpoint> {
    const { kernels, codecs } = this;
    const tools = { kernels, codecs, onEvent: this.#onEvent };
    return open(modelPath(source), { ...tools, ...this.#sources, ...options });
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
    const source = text === undefined
      ? undefined
      : memorySource("text", new TextEncoder().encode(text));
    return (await this.calibrationFrom(model, recipe, source && [{ source }])).windows;
  }

  /**
   * The windows that a recipe is calibrated on, from files of text, JSONL or parquet, and what the
   * receipt says of them; from the shipped text if there are none.
   */
  async calibrationFrom(
    model: Checkpoint,
    recipe: Recipe,
    inputs: readonly CalibrationInput[] = [],
  ): Promise<CalibrationData> {
    const { calibration } = recipe;
    const length = Math.min(calibration.length, openModel(model).hyperparameters.context);
    const tokenizer = this.tokenizer(model);
    if (inputs.length > 0) return await calibrationData({ tokenizer, calibration, length, inputs });
    const source = await fileSource(embeddedPath("calibration.txt"));
    try {
      const inputs = [{ source }];
      const data = await calibrationData({ tokenizer, calibration, length, inputs });
      return { ...data, source: { ...data.source, kinds: ["shipped"] } };
    } finally {
      source.close();
    }
  }

  /** The target with an id. */
  target(id = "lowbit"): Target {
    const found = this.targets.find((target) => target.id === id);
    if (found) return found;
    throw unknownName("target", id, this.targets.map((target) => target.id));
  }

  /** The plan of a run: every tensor, the size, the memory, every conflict. Reads headers only. */
  plan(options: Omit<QuantizeOptions, "out" | "overwrite" | "signal">): Plan {
    return planRun({ ...this.#run(options), canSpill: true }).plan;
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
    let { calibration, calibrationSource } = options;
    if (!calibration) {
      const { plan, pipeline } = planRun(run);
      refuseConflicts({ ...plan, conflicts: beforeCalibration(plan.conflicts) });
      if (pipeline.needsCalibration) {
        const data = await this.calibrationFrom(options.model, run.recipe);
        [calibration, calibrationSource] = [data.windows, data.source];
      }
    }
    const complete = { ...run, calibration, calibrationSource, signal };
    if (typeof out !== "string") return await quantizeModel({ ...complete, output: out });
    return await quantizeToPath(complete, out, { overwrite });
  }

  /**
   * Converts a checkpoint and proves what became of each tensor; see `engine/convert/convert.ts`.
   * Beside a file, `OUT.conversion.json` is the record that a directory has inside.
   */
  async convert(options: ConvertOptions): Promise<ConversionResult> {
    const { id, type } = splitTarget(options.to);
    const { kernels, codecs } = this, recipes = presetRecipes().values();
    const tools = { target: this.target(id), recipes, kernels, codecs, onEvent: this.#onEvent };
    return await convertToPath(options, type, tools);
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
      /** The first token of each window that is scored; 1, which is all, if absent. */
      from?: readonly number[];
      /** Evaluators beside those of plugins. */
      evaluators?: readonly Evaluator[];
      /** The key/value cache of the model; in full precision if absent. */
      cache?: CacheChoice;
    } & LinearOptions,
  ): Promise<Record<string, number>> {
    const { kernels, codecs, plugins } = this;
    const { model: checkpoint, ...rest } = options;
    const what = { checkpoint, ...rest };
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
    const choice = options.cache && await openCache({
      plugins: this.plugins,
      kernels: this.kernels,
      codecs: this.codecs,
      checkpoint: model,
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
    const { recipe, model: checkpoint, calibration, maxMemory, shared, importance } = options;
    const { statistics } = options;
    return {
      ...{ checkpoint, importance, statistics },
      recipe: typeof recipe === "string" ? presetRecipe(recipe) : recipe,
      target: this.target(options.to),
      calibration,
      maxMemory,
      shared,
      ...{ plugins: this.plugins, kernels: this.kernels, codecs: this.codecs },
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
  const kernels = await loadKernels({ threads: options.threads ?? 1 });
  return new Workbench(
    options.device === "webgpu" ? await webgpuKernels(kernels) : kernels,
    options,
  );
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
