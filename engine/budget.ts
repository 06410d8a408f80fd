/**
 * Schemes within a budget: a plugin predicts what each weight loses under each scheme, an integer
 * program chooses, and the recipe comes back with the schemes written out.
 *
 * @module
 */

import { type LinearInfo, LowbitError, type Recipe, type SchemeReference } from "../spec/mod.ts";
import { provideAutodiff } from "./differentiate.ts";
import { leastLoss } from "./integer_program.ts";
import { WholeModel } from "./model_view.ts";
import { type PlannedRun, planRun } from "./quantize.ts";
import type { QuantizeArguments } from "./run_arguments.ts";

/** One plan of the Pareto front. */
export interface BudgetPoint {
  /** Bits a weight over the planned weights. */
  bits: number;
  /** Bytes of the tensor data of the whole output. */
  bytes: number;
  /** The sum of predicted losses. */
  loss: number;
}

/** What planning gives. */
export interface BudgetPlan {
  /** The plugin that predicted losses. */
  plugin: string;
  /** The recipe with the chosen schemes, without budget and planner. */
  recipe: Recipe;
  /** The chosen plan. */
  chosen: BudgetPoint;
  /** The chosen scheme of each weight. */
  weights: { id: string; scheme: string; bytes: number; loss: number }[];
  /** Least losses for budgets from the smallest plan to the largest. */
  front: BudgetPoint[];
}

/** Points of a front. */
const POINTS = 12;

/** Bytes of a header on the safe side: what describes schemes, and the entries of each tensor's parts. */
const headerBytes = (tensors: number) => 8192 + 512 * tensors;

/** Chooses schemes for a recipe that has a budget. */
export async function planBudget(
  args: Omit<QuantizeArguments, "output"> & { onWarning?: (message: string) => void },
): Promise<BudgetPlan> {
  const { recipe, kernels, codecs, target, calibration: windows = [] } = args;
  const { budget } = recipe;
  const run = planRun(args);
  const { model, pipeline } = run;
  const planners = pipeline.steps.filter(({ plugin }) => plugin.planLosses);
  if (!budget || planners.length !== 1) {
    throw new LowbitError(
      "CONFLICT",
      budget
        ? `needs one plugin that predicts losses, but has ${planners.length}`
        : "has no budget",
      { file: recipe.name, field: "budget", advice: "use sensitivity or hawq, and a budget" },
    );
  }
  const [step] = planners;
  const tooLarge = run.plan.conflicts.find(({ code, where }) =>
    code === "MEMORY" && where === step.plugin.meta.name
  );
  if (tooLarge) {
    throw new LowbitError("MEMORY", tooLarge.problem, {
      file: recipe.name,
      field: tooLarge.where,
      advice: tooLarge.advice,
    });
  }
  const planned = model.linears.filter(({ id, block }) =>
    block !== undefined && pipeline.schemes.get(id)?.weight
  );
  const candidates = budget.schemes.map((scheme) => codecs.resolve(scheme, recipe.name));
  const costs = planned.map((linear) => candidates.map((scheme) => bytesOf(run, linear, scheme)));
  function bytesOf(run: PlannedRun, linear: LinearInfo, scheme: typeof candidates[number]) {
    const { tensor } = run.parameters.find(({ parameter }) => parameter.id === linear.id)!;
    const fit = target.fit({ ...tensor, storage: { kind: "coded", scheme } });
    if (fit.ok) return fit.bytes;
    throw new LowbitError("CONFLICT", fit.problem, {
      file: recipe.name,
      field: `budget.schemes: ${scheme.id}, ${linear.id}`,
      advice: fit.advice,
    });
  }
  await provideAutodiff([step], args.autodiff);
  using whole = await WholeModel.load({ model, kernels, codecs, windows, candidates, planned });
  const losses = step.plugin.planLosses!({ context: step.context, model: whole });
  const choices = planned.map(({ id }, i) => ({
    costs: costs[i],
    losses: checkLosses(losses.get(id), candidates.length, step.plugin.meta.name, id),
  }));
  const elements = planned.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const own = new Set(planned.map(({ id }) => id));
  const rest = run.parameters.reduce(
    (sum, { parameter }, i) => own.has(parameter.id) ? sum : sum + run.plan.tensors[i].bytes,
    0,
  );
  const total = (pick: (costs: number[]) => number) =>
    costs.reduce((sum, row) => sum + pick(row), 0);
  const [least, most] = [total((row) => Math.min(...row)), total((row) => Math.max(...row))];
  const limits = [
    ...budget.bits !== undefined ? [Math.floor(budget.bits * elements / 8)] : [],
    ...budget.bytes !== undefined ? [budget.bytes - rest - headerBytes(run.parameters.length)] : [],
  ];
  if (limits.length === 0) {
    throw new LowbitError("USAGE", "says neither bits nor bytes", {
      file: recipe.name,
      field: "budget",
      advice: "give --bits or --target-size",
    });
  }
  const limit = Math.min(...limits);
  const steps = Array.from(
    { length: POINTS },
    (_, i) => Math.floor(least + (most - least) * i / (POINTS - 1)),
  );
  const [chosen, ...solved] = await leastLoss(choices, [limit, ...steps]);
  if (!chosen) {
    const bits = (8 * least / elements).toFixed(3);
    throw new LowbitError(
      "CONFLICT",
      `the smallest plan has ${bits} bits a weight and needs ` +
        `${least + rest + headerBytes(run.parameters.length)} bytes`,
      {
        file: recipe.name,
        field: "budget",
        advice: "allow more, or offer smaller schemes",
      },
    );
  }
  const point = (picks: readonly number[]): BudgetPoint => {
    const bytes = picks.reduce((sum, k, i) => sum + costs[i][k], 0);
    const loss = picks.reduce((sum, k, i) => sum + choices[i].losses[k], 0);
    return { bits: 8 * bytes / elements, bytes: bytes + rest, loss };
  };
  return {
    plugin: step.plugin.meta.name,
    recipe: writeOut(recipe, budget.schemes, planned, chosen, step.plugin.meta.name),
    chosen: point(chosen),
    weights: planned.map(({ id }, i) => ({
      id,
      scheme: candidates[chosen[i]].id,
      bytes: costs[i][chosen[i]],
      loss: choices[i].losses[chosen[i]],
    })),
    front: paretoFront(solved.flatMap((picks) => picks ? [point(picks)] : [])),
  };
}

function checkLosses(
  losses: number[] | undefined,
  count: number,
  plugin: string,
  id: string,
): number[] {
  if (losses?.length === count && losses.every((loss) => Number.isFinite(loss) && loss >= 0)) {
    return losses;
  }
  throw new LowbitError("PLUGIN", `must predict ${count} finite losses of at least 0`, {
    file: plugin,
    field: id,
    advice: "report it to the author of the plugin",
  });
}

/** The recipe with one assignment for each scheme that was chosen. */
function writeOut(
  { budget: _, ...recipe }: Recipe,
  schemes: readonly SchemeReference[],
  planned: readonly LinearInfo[],
  chosen: readonly number[],
  planner: string,
): Recipe {
  const assign = schemes.flatMap((weight, k) => {
    const select = planned.filter((_, i) => chosen[i] === k).map(({ id }) => id);
    return select.length > 0 ? [{ select, weight }] : [];
  });
  return {
    ...recipe,
    assign: [...recipe.assign, ...assign],
    pipeline: recipe.pipeline.filter(({ use }) => use !== planner),
  };
}

/** Points none of which is beaten by another in both size and loss, by size. */
function paretoFront(points: readonly BudgetPoint[]): BudgetPoint[] {
  const front: BudgetPoint[] = [];
  for (const point of points.toSorted((a, b) => a.bytes - b.bytes || a.loss - b.loss)) {
    if (front.length === 0 || point.loss < front.at(-1)!.loss) front.push(point);
  }
  return front;
}
