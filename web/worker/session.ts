/**
 * An open checkpoint in the worker: what the page does with it.
 *
 * @module
 */

import { receiptText } from "../../engine/receipt.ts";
import { blobSource } from "../../formats/containers/source.ts";
import type { OpenedCheckpoint } from "../../formats/library.ts";
import { openModel } from "../../models/architecture.ts";
import { presetRecipe, presetRecipes } from "../../recipes/mod.ts";
import {
  type ByteSource,
  type Checkpoint,
  type Recipe,
  type RunEvent,
  storageLabel,
} from "../../spec/mod.ts";
import { createWorkbench, parseRecipe, type Workbench } from "../../workbench.ts";
import type {
  Calls,
  FormatView,
  ModelView,
  Piece,
  PlanView,
  Progress,
  ResultView,
  Trial,
} from "../protocol.ts";
import { blobOutput } from "./blob_output.ts";
import { examine } from "./examine.ts";

/** Values of a tensor that the explorer tries formats on, at most. */
const SAMPLE = 1 << 16;
/** Files of the shipped model, as they lie beside the page. */
const EMBEDDED = [
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
];

/** The work of one worker. */
export class Session {
  readonly threads: number;
  readonly #lowbit: Workbench;
  readonly #base: string;
  readonly #listener: { onProgress?: (progress: Progress) => void };
  #model?: OpenedCheckpoint;
  #result?: OpenedCheckpoint;
  #stopped = false;

  private constructor(
    lowbit: Workbench,
    base: string,
    listener: { onProgress?: (progress: Progress) => void },
  ) {
    this.#lowbit = lowbit;
    this.#base = base;
    this.#listener = listener;
    this.threads = lowbit.kernels.threads;
  }

  /** Loads the kernels. */
  static async start({ threads, base }: Calls["start"]["args"]): Promise<Session> {
    const listener: { onProgress?: (progress: Progress) => void } = {};
    const onEvent = (event: RunEvent) => {
      if (event.event !== "progress") return;
      const { stage, done, total } = event;
      listener.onProgress?.({ stage, done, total });
    };
    return new Session(await createWorkbench({ threads, onEvent }), base, listener);
  }

  /** Reads a format and tries it. */
  examine(trial: Trial): FormatView {
    return examine(trial, this.#lowbit.codecs);
  }

  /** Opens the shipped model, or files. */
  async open({ files }: Calls["open"]["args"]): Promise<ModelView> {
    const sources = files === "embedded"
      ? await Promise.all(EMBEDDED.map((name) => this.#shipped(`model/${name}`, name)))
      : files.map((file) => blobSource(file));
    const model = await this.#lowbit.open(sources);
    for (const old of [this.#model, this.#result]) old?.close();
    this.#model = model;
    this.#result = undefined;
    return this.#view(model);
  }

  /** Whole rows of a tensor, or of a part of it. */
  async sample({ tensor }: Calls["sample"]["args"]): Promise<Float32Array> {
    const stored = this.#opened().tensors.get(tensor)!;
    const [rows, ...rest] = stored.shape;
    const columns = rest.reduce((product, size) => product * size, 1);
    const end = Math.min(rows ?? 1, Math.max(1, Math.floor(SAMPLE / columns)));
    const values = stored.shape.length > 1
      ? await stored.read({ start: 0, end })
      : await stored.read();
    return values.slice(0, SAMPLE);
  }

  /** What every preset would give, by headers alone. */
  plans({ to }: Calls["plans"]["args"]): PlanView[] {
    const model = this.#opened();
    return [...presetRecipes().values()].filter((recipe) => !recipe.budget).map((recipe) => {
      const calibrated = this.#lowbit.needsCalibration(model, recipe);
      const plan = this.#lowbit.plan({ model, recipe, to });
      const [conflict] = plan.conflicts.filter(({ code }) => code !== "CALIBRATION");
      return {
        recipe: recipe.name,
        summary: recipe.summary,
        bytes: plan.bytes,
        bits: plan.bits_per_weight,
        calibrated,
        ...(conflict && { conflict: `${conflict.problem}; ${conflict.advice}` }),
      };
    });
  }

  /** Quantises into blobs; the bytes are those of the command line. */
  async quantize(
    { recipe: wanted, to }: Calls["quantize"]["args"],
    onProgress: (progress: Progress) => void,
  ): Promise<ResultView> {
    const started = performance.now();
    const model = this.#opened();
    const recipe = recipeOf(wanted);
    const target = this.#lowbit.target(to);
    const calibration = recipe.budget || this.#lowbit.needsCalibration(model, recipe)
      ? await this.#lowbit.calibration(model, recipe, await this.#text("calibration.txt"))
      : undefined;
    const name = target.output === "file" ? `${recipe.name}.${target.id}` : recipe.name;
    const out = blobOutput(name);
    this.#listener.onProgress = onProgress;
    const { plan, receipt } = await this.#lowbit.quantize({ model, recipe, to, out, calibration });
    const files = [...out.files].map(([name, blob]) => ({ name, blob }));
    await this.reopen({ files });
    if (target.output === "file") {
      files.push({ name: `${name}.receipt.json`, blob: new Blob([receiptText(receipt)]) });
    }
    return {
      recipe: recipe.name,
      to,
      files,
      bytes: receipt.output.reduce((sum, { bytes }) => sum + bytes, 0),
      bits: plan.bits_per_weight,
      seconds: (performance.now() - started) / 1000,
      warnings: receipt.warnings,
    };
  }

  /** Takes a quantised model that was made before, here or in a worker that was ended. */
  async reopen({ files }: Calls["reopen"]["args"]): Promise<null> {
    const sources = files
      .filter(({ name }) => !name.endsWith("receipt.json"))
      .map(({ name, blob }) => blobSource(blob, name));
    const result = await this.#lowbit.open(sources);
    this.#result?.close();
    this.#result = result;
    return null;
  }

  /** The figures of the result beside the original. */
  async evaluate(
    { windows: count, length: wanted, cache: use }: Calls["evaluate"]["args"],
    onProgress: (progress: Progress) => void,
  ): Promise<Calls["evaluate"]["result"]> {
    const model = this.#opened();
    const text = await this.#text("evaluation.txt");
    const { context } = openModel(model).hyperparameters;
    const length = Math.min(wanted, context);
    const windows = this.#lowbit.windows(model, text, { length, count });
    this.#listener.onProgress = onProgress;
    const own = await this.#lowbit.evaluate({ model, windows });
    const reference = await this.#lowbit.stream(model, windows);
    try {
      const figures = await this.#lowbit.evaluate({
        model: this.#result ?? model,
        ...{ windows, reference },
        cache: use === undefined ? undefined : { use },
      });
      return {
        perplexity: figures.perplexity,
        original: own.perplexity,
        kl: figures.kl,
        top1: figures.top1_agreement,
        tokens: windows.length * (length - 1),
      };
    } finally {
      reference.free();
    }
  }

  /** Continues a text with both models, a token of each in turn. */
  async generate(
    args: Calls["generate"]["args"],
    onEvent: (event: Piece | Progress) => void,
  ): Promise<null> {
    this.#stopped = false;
    this.#listener.onProgress = onEvent;
    const models: [Piece["of"], Checkpoint | undefined][] = [
      ["original", this.#opened()],
      ["quantised", this.#result],
    ];
    // One that fails stops the other; both have given their memory back before this ends.
    const ends = await Promise.allSettled(models.map(async ([of, model]) => {
      try {
        if (model) await this.#stream(of, model, args, onEvent);
      } catch (error) {
        this.#stopped = true;
        throw error;
      }
    }));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    return null;
  }

  /** Ends `generate` after the next token. */
  stop(): null {
    this.#stopped = true;
    return null;
  }

  /** Ends it, with its threads. */
  close(): void {
    for (const model of [this.#model, this.#result]) model?.close();
    this.#lowbit.close();
  }

  /** Bytes that the kernels hold now, and the most that they held. */
  memory(): Calls["memory"]["result"] {
    return this.#lowbit.kernels.memory();
  }

  async #stream(
    of: Piece["of"],
    model: Checkpoint,
    args: Calls["generate"]["args"],
    onEvent: (event: Piece) => void,
  ): Promise<void> {
    let [tokens, first] = [0, 0];
    const onToken = () => {
      if (++tokens === 1) first = performance.now();
    };
    for await (const text of this.#lowbit.generate({ model, ...args, onToken })) {
      onEvent({ of, text, tokens, seconds: (performance.now() - first) / 1000 });
      // A turn for the other model, and for a call of `stop`.
      await new Promise((resolve) => setTimeout(resolve));
      if (this.#stopped) return;
    }
  }

  #view(model: Checkpoint): ModelView {
    const tensors = [...model.tensors.values()].map((tensor) => ({
      name: tensor.name,
      shape: [...tensor.shape],
      storage: storageLabel(tensor.storage),
      bytes: tensor.bytes,
    }));
    const view = {
      kind: model.kind,
      tensors,
      bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
      parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((p, n) => p * n, 1), 0),
    };
    try {
      const { architecture, hyperparameters: { blocks, hidden } } = openModel(model);
      return {
        ...view,
        architecture: `${architecture.id}, ${blocks} blocks, hidden size ${hidden}`,
        tokenizer: this.#hasTokenizer(model),
      };
    } catch (error) {
      return { ...view, problem: (error as Error).message, tokenizer: false };
    }
  }

  #hasTokenizer(model: Checkpoint): boolean {
    try {
      this.#lowbit.tokenizer(model);
      return true;
    } catch {
      return false;
    }
  }

  #opened(): OpenedCheckpoint {
    if (!this.#model) throw new Error("no model is open");
    return this.#model;
  }

  async #shipped(path: string, name: string): Promise<ByteSource> {
    return blobSource(await (await this.#fetch(path)).blob(), name);
  }

  async #text(name: string): Promise<string> {
    return await (await this.#fetch(name)).text();
  }

  async #fetch(path: string): Promise<Response> {
    const url = new URL(`embedded/${path}`, this.#base);
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url.pathname}: the server answers ${response.status}`);
    return response;
  }
}

/** A preset, or the recipe of a YAML text. */
function recipeOf(text: string): Recipe {
  return text.includes(":") ? parseRecipe(text, "recipe") : presetRecipe(text);
}
