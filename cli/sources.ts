/**
 * Options of the commands that take a model: where it may come from, and what may be read.
 *
 * @module
 */

import type { SourceOptions } from "../formats/sources/mod.ts";
import type { Arguments, Option } from "./arguments.ts";

/** The options. */
export const SOURCE_OPTIONS: readonly Option[] = [
  {
    name: "allow-pickle-tensors",
    type: "flag",
    help: "read tensors out of pickled PyTorch files; nothing in them is executed",
  },
  {
    name: "no-download",
    type: "flag",
    help: "read remote models by ranges, instead of whole files through the cache",
  },
];

/** What the options say. */
export function sourceOptions(args: Arguments): SourceOptions {
  return {
    pickleTensors: args.flag("allow-pickle-tensors"),
    download: !args.flag("no-download") && !args.flag("dry-run"),
  };
}
