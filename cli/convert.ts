/**
 * `lowbit convert`
 *
 * @module
 */

import type { ConvertedTensor } from "../engine/convert/convert.ts";
import { LowbitError } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import type { Command } from "./arguments.ts";
import { importanceOption, readImportances } from "./importance.ts";
import { progressView, writeError, writeLine } from "./progress.ts";
import { abortOnSignals } from "./quantize.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { formatBytes, table } from "./table.ts";

/** The command. */
export const convertCommand: Command = {
  name: "convert",
  usage: "IN OUT --to TARGET[:TYPE] [options]",
  summary: "Convert a checkpoint into another dialect or container, and prove what became of it.",
  positional: [2, 2],
  options: [
    {
      name: "to",
      type: "text",
      value: "TARGET[:TYPE]",
      help: "a target as of quantize, or safetensors; TYPE is a scheme or a plain type (required)",
    },
    importanceOption,
    { name: "lossy", type: "flag", help: "allow values to change; their added error is reported" },
    { name: "dry-run", type: "flag", help: "print what becomes of each tensor; write nothing" },
    ...SOURCE_OPTIONS,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
    { name: "overwrite", type: "flag", help: "replace OUT if it is there" },
  ],
  async run(args) {
    const [input, out] = args.positional;
    const to = args.text("to");
    if (to === undefined) {
      throw new LowbitError("USAGE", "--to is missing", { advice: "see `lowbit convert --help`" });
    }
    const view = progressView(args);
    using lowbit = await createWorkbench({
      sources: sourceOptions(args),
      threads: args.number("threads") ?? 0,
      onEvent: view.onEvent,
    });
    const checkpoint = await lowbit.open(input);
    try {
      const dry = args.flag("dry-run");
      const { signal, release } = abortOnSignals();
      const done = await lowbit.convert({
        checkpoint,
        to,
        lossy: args.flag("lossy"),
        importance: await readImportances(args),
        ...(!dry && { out, overwrite: args.flag("overwrite"), signal }),
      }).finally(release);
      view.close();
      if (args.flag("json")) {
        writeLine(JSON.stringify({ ...done, output: dry ? null : out }));
        return;
      }
      writeLine(table(
        ["tensor", "from", "to", "what", "max error", "relative"],
        done.tensors.map(tensorRow),
      ));
      const { preserved, exact, lossy } = done.summary;
      writeLine(
        `${preserved} preserved, ${exact} exact, ${lossy} lossy; ${formatBytes(done.bytes)}` +
          (dry ? "; nothing was written" : `; written to ${out}`),
      );
      if (dry && lossy > 0 && !args.flag("lossy")) {
        writeError("note: values change; the conversion itself needs --lossy");
      }
    } finally {
      checkpoint.close();
    }
  },
};

function tensorRow(tensor: ConvertedTensor): (string | number)[] {
  const error = (value: number) => value === 0 ? "0" : value.toPrecision(3);
  const { name, from, to, kind, max_error, relative_error } = tensor;
  return [name, from, to, kind, error(max_error), error(relative_error)];
}
