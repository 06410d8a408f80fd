/**
 * `lowbit plan`
 *
 * @module
 */

import { stringify } from "@std/yaml";
import { LowbitError } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import type { Command } from "./arguments.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { BUDGET_OPTIONS, withBudget } from "./budget.ts";
import { calibrationOption, readCalibration } from "./calibration.ts";
import { setOption, withSettings } from "./recipe_options.ts";
import { readRecipe } from "./inputs.ts";
import { plain, print } from "./lists.ts";
import { progressView } from "./progress.ts";
import { formatBytes, table } from "./table.ts";

/** The command. */
export const planCommand: Command = {
  name: "plan",
  usage: "MODEL --recipe RECIPE --bits BITS | --target-size SIZE",
  summary: "Choose a scheme for each weight within a budget; show the Pareto front and the recipe.",
  positional: [1, 1],
  options: [
    { name: "recipe", type: "text", value: "FILE|NAME", help: "the recipe (required)" },
    setOption,
    calibrationOption,
    { name: "to", type: "text", value: "TARGET", help: "the target whose bytes count" },
    ...BUDGET_OPTIONS,
    ...SOURCE_OPTIONS,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
  ],
  async run(args) {
    const name = args.text("recipe");
    if (name === undefined) {
      throw new LowbitError("USAGE", "--recipe is missing", { advice: "see `lowbit recipes`" });
    }
    const recipe = withBudget(withSettings(await readRecipe(name), args), args);
    const view = progressView(args);
    using lowbit = await createWorkbench({
      sources: sourceOptions(args),
      threads: args.number("threads") ?? 0,
      onEvent: view.onEvent,
    });
    const model = await lowbit.open(args.positional[0]);
    try {
      const { windows: calibration } = await readCalibration(args, lowbit, model, recipe);
      const plan = await lowbit.planBudget({ model, recipe, calibration, to: args.text("to") });
      view.close();
      print(args, plan, () =>
        [
          table(["weight", "scheme", "bytes", "predicted loss"], [
            ...plan.weights.map((w) => [w.id, w.scheme, w.bytes, w.loss.toPrecision(4)]),
          ]),
          table(
            ["bits a weight", "size", "predicted loss", ""],
            [...plan.front.map((point) => ({ ...point, mark: "" })), {
              ...plan.chosen,
              mark: "chosen",
            }]
              .toSorted((a, b) => a.bytes - b.bytes)
              .map((p) => [p.bits.toFixed(3), formatBytes(p.bytes), p.loss.toPrecision(4), p.mark]),
          ),
          stringify(plain(plan.recipe)).trimEnd(),
        ].join("\n"));
    } finally {
      view.close();
      model.close();
    }
  },
};
