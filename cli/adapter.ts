/**
 * `lowbit adapter`
 *
 * @module
 */

import { directoryOutput } from "../formats/containers/output.ts";
import { lowRankParts, writeAdapter } from "../formats/dialects/peft.ts";
import { LowbitError } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import { adaptedBy } from "./adapter_option.ts";
import type { Arguments, Command } from "./arguments.ts";
import { writeLine } from "./progress.ts";
import { abortOnSignals } from "./quantize.ts";
import { formatBytes, table } from "./table.ts";

/** The command. */
export const adapterCommand: Command = {
  name: "adapter",
  usage: "MODEL OUT | merge MODEL ADAPTER OUT [options]",
  summary: "Write the low-rank parts of a model as an adapter of PEFT, or merge such an adapter.",
  positional: [2, 4],
  options: [
    { name: "alpha", type: "integer", value: "N", help: "lora_alpha; the rank if absent" },
    { name: "base", type: "text", value: "NAME", help: "the model that PEFT puts it on" },
    {
      name: "to",
      type: "text",
      value: "TARGET[:TYPE]",
      help: "merge: what OUT is, as of convert (safetensors)",
    },
    { name: "lossy", type: "flag", help: "merge: allow values to be rounded to TYPE" },
    { name: "overwrite", type: "flag", help: "replace OUT if it is there" },
  ],
  async run(args) {
    const { positional } = args;
    if (positional[0] === "merge" && positional.length === 4) return await merge(args);
    if (positional.length === 2) return await extract(args);
    throw new LowbitError("USAGE", `takes MODEL OUT, or merge MODEL ADAPTER OUT`, {
      advice: "see `lowbit adapter --help`",
    });
  },
};

/** Writes a model with an adapter in its weights. */
async function merge(args: Arguments): Promise<void> {
  const [, input, folder, out] = args.positional;
  using lowbit = await createWorkbench({ threads: 1 });
  const model = await lowbit.open(input);
  try {
    const checkpoint = await adaptedBy(model, folder);
    const { signal, release } = abortOnSignals();
    const done = await lowbit.convert({
      ...{ checkpoint, out, signal },
      to: args.text("to") ?? "safetensors",
      lossy: args.flag("lossy"),
      overwrite: args.flag("overwrite"),
    }).finally(release);
    const weights = [...checkpoint.tensors].filter(([name, tensor]) =>
      tensor !== model.tensors.get(name)
    ).map(([name]) => name);
    writeLine(
      args.flag("json")
        ? JSON.stringify({ output: out, weights, bytes: done.bytes })
        : `${weights.length} weights changed; ${formatBytes(done.bytes)} written to ${out}`,
    );
  } finally {
    model.close();
  }
}

/** Writes the low-rank parts of a model. */
async function extract(args: Arguments): Promise<void> {
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
}
