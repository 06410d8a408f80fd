/**
 * Recipes measured one after the other over one reading of the reference.
 *
 * @module
 */

import { SharedStatistics } from "../engine/shared_statistics.ts";
import type { StreamedModel } from "../models/evaluate.ts";
import type { Checkpoint, Recipe, StatisticName } from "../spec/mod.ts";
import type { Workbench } from "../workbench.ts";
import type { Job, JobSetup } from "./jobs.ts";
import { type Measured, measureRecipe } from "./measure.ts";

/** Bytes of statistics that recipes share, over all jobs. */
const SHARED_BYTES = 2 ** 30;

/** Measures the jobs of a comparison; whoever makes it frees it. */
export class Bench implements Disposable {
  readonly #lowbit: Workbench;
  readonly #watch: Parameters<typeof measureRecipe>[2];
  readonly #model: Checkpoint;
  readonly #setup: Omit<JobSetup, "argv">;
  readonly #reference: StreamedModel;
  /** Statistics of the calibration set at hand. */
  #shared?: { set: number; statistics: SharedStatistics };

  private constructor(
    lowbit: Workbench,
    watch: Parameters<typeof measureRecipe>[2],
    model: Checkpoint,
    setup: Omit<JobSetup, "argv">,
    reference: StreamedModel,
  ) {
    this.#lowbit = lowbit;
    this.#watch = watch;
    this.#model = model;
    this.#setup = setup;
    this.#reference = reference;
  }

  /** Reads the windows with the model, which stays the caller's to close. */
  static async open(
    lowbit: Workbench,
    watch: Parameters<typeof measureRecipe>[2],
    model: Checkpoint,
    setup: Omit<JobSetup, "argv">,
  ): Promise<Bench> {
    const reference = await lowbit.stream(model, setup.text.windows);
    return new Bench(lowbit, watch, model, setup, reference);
  }

  /** Measures one recipe. */
  async measure({ set, recipe: index, out }: Job): Promise<Measured> {
    const { recipes, calibrations, text, tensor, inputs, jobs } = this.#setup;
    const recipe = recipes[index];
    const calibration = await calibrationOf(
      this.#lowbit,
      this.#model,
      recipe,
      calibrations[set].windows,
    );
    const measured = await measureRecipe(
      {
        lowbit: this.#lowbit,
        model: this.#model,
        reference: this.#reference,
        ...{ windows: text.windows, from: text.from },
        calibration,
        shared: sameLength(recipes) ? this.#statistics(set) : undefined,
        ...{ tensor, inputs, out },
      },
      recipe,
      this.#watch,
    );
    return jobs > 1 ? { ...measured, entry: { ...measured.entry, jobs } } : measured;
  }

  /** Frees the reference. */
  [Symbol.dispose](): void {
    this.#reference.free();
  }

  #statistics(set: number): SharedStatistics {
    if (this.#shared?.set !== set) {
      const { recipes, jobs } = this.#setup;
      const needs = statisticsOf(this.#lowbit, recipes);
      const statistics = new SharedStatistics(this.#model, needs, SHARED_BYTES / jobs);
      this.#shared = { set, statistics };
    }
    return this.#shared.statistics;
  }
}

/** The windows that a recipe is calibrated on, if it wants any: these, or of the shipped text. */
export async function calibrationOf(
  lowbit: Workbench,
  model: Checkpoint,
  recipe: Recipe,
  windows?: readonly Int32Array[],
): Promise<readonly Int32Array[] | undefined> {
  if (!lowbit.needsCalibration(model, recipe)) return undefined;
  return windows ?? await lowbit.calibration(model, recipe);
}

/** What the steps of any recipe want to know of the inputs of linears. */
function statisticsOf(lowbit: Workbench, recipes: readonly Recipe[]): Set<StatisticName> {
  const used = new Set(recipes.flatMap(({ pipeline }) => pipeline.map(({ use }) => use)));
  const plugins = lowbit.plugins.filter(({ meta }) => used.has(meta.name));
  return new Set(plugins.flatMap(({ meta }) => meta.needs.statistics));
}

/** Whether recipes are calibrated on windows of the same number and length, so that they can share. */
function sameLength(recipes: readonly Recipe[]): boolean {
  const [first] = recipes;
  return recipes.every(({ calibration: { samples, length } }) =>
    samples === first.calibration.samples && length === first.calibration.length
  );
}
