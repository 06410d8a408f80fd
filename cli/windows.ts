/**
 * Windows to score, from `--text` or `--ids` and the options of the protocol.
 *
 * @module
 */

import type { Protocol } from "../compare/document.ts";
import { type ScoredWindows, scoredWindows } from "../engine/protocol.ts";
import { openModel } from "../models/architecture.ts";
import { tokenizerFiles } from "../models/settings.ts";
import { type Checkpoint, LowbitError, unknownName } from "../spec/mod.ts";
import { DEFAULT_CONTEXT, type Workbench } from "../workbench.ts";
import type { Arguments, Option } from "./arguments.ts";
import { checkFor, readIds, readText } from "./inputs.ts";

/** What named protocols say; options that are given win. */
const PROTOCOLS: Record<string, { context: number; secondHalf: boolean; bos: boolean }> = {
  lowbit: { context: DEFAULT_CONTEXT, secondHalf: false, bos: false },
  gptq: { context: 2048, secondHalf: false, bos: false },
  "llama.cpp": { context: 512, secondHalf: true, bos: true },
};

/** Options of commands that score a text. */
export const WINDOW_OPTIONS: readonly Option[] = [
  { name: "text", type: "text", value: "FILE", help: "text, tokenised as a whole" },
  { name: "ids", type: "text", value: "FILE.json[#KEY]", help: "windows of token ids" },
  {
    name: "protocol",
    type: "text",
    value: "NAME",
    help: "lowbit: windows of 512, no BOS; gptq: of 2048; llama.cpp: of 512, second half scored, " +
      "BOS where the model asks for it",
  },
  {
    name: "context",
    type: "integer",
    value: "N",
    help: `tokens of a window (${DEFAULT_CONTEXT}, or what the model has if that is less)`,
  },
  {
    name: "stride",
    type: "integer",
    value: "N",
    help: "tokens from window to window (all: no overlap); each token is scored once",
  },
  { name: "bos", type: "flag", help: "BOS takes the place of the first token of each window" },
  { name: "windows", type: "integer", value: "N", help: "only the first N windows" },
];

/** What is scored. */
export interface Scored extends ScoredWindows {
  /** The name of the text, for people. */
  name: string;
  /** How the windows were made. */
  protocol: Protocol;
}

/** Reads what `--text` or `--ids` name and cuts it by the protocol. */
export async function readScored(
  args: Arguments,
  lowbit: Workbench,
  model: Checkpoint,
): Promise<Scored> {
  const [text, ids] = [args.text("text"), args.text("ids")];
  if ((text === undefined) === (ids === undefined)) {
    throw new LowbitError("USAGE", "give either --text or --ids", {
      advice: "as in --text FILE.txt, or --ids FILE.json",
    });
  }
  const name = args.text("protocol") ?? "lowbit";
  if (!Object.hasOwn(PROTOCOLS, name)) throw unknownName("protocol", name, Object.keys(PROTOCOLS));
  const named = PROTOCOLS[name];
  const limit = openModel(model).hyperparameters.context;
  const context = args.number("context") ?? Math.min(named.context, limit);
  if (context < 2) {
    throw new LowbitError("USAGE", "--context must be at least 2", {
      advice: "leave it out for the default",
    });
  }
  const count = args.number("windows");
  if (count === 0) {
    throw new LowbitError("USAGE", "--windows must be at least 1", {
      advice: "leave it out for all of them",
    });
  }
  const stride = args.number("stride") ?? context;
  const bos = bosOf(args, lowbit, model, named.bos);
  const { secondHalf } = named;
  const cut = { context, stride, count, bos, secondHalf };
  const file = (ids ?? text)!;
  const scored = ids === undefined
    ? scoredWindows(lowbit.tokenizer(model).encode(await readText(text!)), cut)
    : await windowsOfIds(ids, cut);
  checkFor(model, scored.windows, file);
  const longest = Math.max(...scored.windows.map((window) => window.length));
  const changed = ["context", "stride", "bos"].some((option) =>
    args.flag(option) || args.number(option) !== undefined
  );
  return {
    ...scored,
    name: file.split(/[\\/]/).at(-1)!,
    protocol: {
      name: changed && name !== "lowbit" ? `${name}, changed` : name,
      context: longest,
      stride: Math.min(stride, longest),
      bos: bos !== undefined,
      windows: scored.windows.length,
      scored_from: scored.from.at(-1)!,
    },
  };
}

/** Windows of a file are kept as they are, unless it holds one list. */
async function windowsOfIds(
  reference: string,
  cut: Parameters<typeof scoredWindows>[1],
): Promise<ScoredWindows> {
  const windows = (await readIds(reference, cut.context)).slice(0, cut.count);
  if (cut.stride !== cut.context) {
    const joined = Int32Array.from(windows.flatMap((window) => [...window]));
    return scoredWindows(joined, cut);
  }
  const { bos, secondHalf } = cut;
  if (bos !== undefined) windows.forEach((window) => window[0] = bos);
  const from = windows.map((window) => secondHalf ? (window.length >> 1) + 1 : 1);
  return { windows, from };
}

function bosOf(
  args: Arguments,
  lowbit: Workbench,
  model: Checkpoint,
  ifAsked: boolean,
): number | undefined {
  const asks = ifAsked && tokenizerFiles(model)?.config.add_bos_token === true;
  if (!args.flag("bos") && !asks) return undefined;
  const { bos } = lowbit.tokenizer(model);
  if (bos !== undefined) return bos;
  throw new LowbitError("NOT_FOUND", "has no BOS token", {
    file: model.name,
    advice: "leave --bos out",
  });
}
