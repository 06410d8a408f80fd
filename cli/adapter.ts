/**
 * `lowbit adapter`
 *
 * @module
 */

import { directoryOutput } from "../formats/containers/output.ts";
import { lowRankParts, writeAdapter } from "../formats/dialects/peft.ts";
import { LowbitError } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import type { Command } from "./arguments.ts";
import { writeLine } from "./progress.ts";
import { table } from "./table.ts";

/** The command. */
export const adapterCommand: Command = {
  name: "adapter",
  usage: "MODEL OUT [options]",
  summary: "Write the low-rank parts of a quantised model as an adapter that PEFT loads.",
  positional: [2, 2],
  options: [
    { name: "alpha", type: "integer", value: "N", help: "lora_alpha; the rank if absent" },
    { name: "base", type: "text", value: "NAME", help: "the model that PEFT puts it on" },
    { name: "overwrite", type: "flag", help: "replace OUT if it is there" },
  ],
  async run(args) {
    const [input, out] = args.positional;
    const alpha = args.number("alpha");
    if (alpha !== undefined && alpha < 1) {
      throw new LowbitError("USAGE", "--alpha must be at least 1", {
        advice: "leave it out to use the rank",
      });
    }
    using lowbit = await createWorkbench({ threads: 1 });
    const checkpoint = await lowbit.open(input);
    try {
      const adapter = await lowRankParts(checkpoint);
      const output = await directoryOutput(out, { overwrite: args.flag("overwrite") });
      try {
        await writeAdapter(output, adapter, { alpha, base: args.text("base") });
        await output.commit();
      } catch (error) {
        await output.abort();
        throw error instanceof LowbitError ? error.in(checkpoint.name) : error;
      }
      const weights = [...adapter].map(([name, { rank, left, right }]) => {
        return { name, rank, rows: left.length / rank, columns: right.length / rank };
      });
      writeLine(
        args.flag("json") ? JSON.stringify({ output: out, weights }) : table(
          ["weight", "rank", "rows", "columns"],
          weights.map((w) => [w.name, w.rank, w.rows, w.columns]),
        ),
      );
    } finally {
      checkpoint.close();
    }
  },
};
