/**
 * `lowbit generate`
 *
 * @module
 */

import { checkpointLinears } from "../engine/executor.ts";
import { seededRng } from "../engine/rng.ts";
import { openModel } from "../models/architecture.ts";
import { LanguageModel } from "../models/model.ts";
import { decodeStream } from "../models/tokenizer.ts";
import { LowbitError, printable } from "../spec/mod.ts";
import type { Command } from "./arguments.ts";
import { progressView, writeError, writeLine } from "./progress.ts";
import { openWorkbench, tokenizerOf } from "./workbench.ts";

/** The command. */
export const generateCommand: Command = {
  name: "generate",
  usage: 'MODEL --prompt "..." [options]',
  summary: "Continue a text with a model, token by token.",
  positional: [1, 1],
  options: [
    { name: "prompt", type: "text", value: "TEXT", help: "the text to continue (required)" },
    { name: "tokens", type: "integer", value: "N", help: "the most tokens to make (64)" },
    { name: "temperature", type: "number", value: "T", help: "0 is greedy (the default)" },
    { name: "seed", type: "integer", value: "N", help: "seed of the sampling (0)" },
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
  ],
  async run(args) {
    const text = args.text("prompt");
    if (text === undefined) throw new LowbitError("USAGE", "--prompt is missing");
    const bench = await openWorkbench(args);
    const view = progressView(args);
    try {
      const { kernels, codecs } = bench;
      const checkpoint = await bench.open(args.positional[0]);
      const tokenizer = tokenizerOf(checkpoint);
      const model = openModel(checkpoint);
      const linears = checkpointLinears(kernels, codecs, checkpoint);
      using language = await LanguageModel.load({
        model,
        kernels,
        linears,
        progress: (done, total) =>
          view.onEvent({ event: "progress", stage: "load", done, total, detail: "blocks" }),
      });
      checkpoint.close();
      view.close();
      const prompt = tokenizer.encode(text);
      const stream = decodeStream(tokenizer);
      const json = args.flag("json");
      const ids: number[] = [];
      let made = "";
      const show = (piece: string) => {
        made += piece;
        if (!json) Deno.stdout.writeSync(new TextEncoder().encode(safe(piece)));
      };
      if (!json) show(text);
      made = "";
      const started = performance.now();
      const eos = tokenizer.eos;
      for await (
        const id of language.generate({
          prompt,
          tokens: args.number("tokens") ?? 64,
          temperature: args.number("temperature") ?? 0,
          rng: seededRng(`generate/${args.number("seed") ?? 0}`),
          stop: eos === undefined ? [] : [eos],
        })
      ) {
        ids.push(id);
        show(stream.push(id));
      }
      show(stream.flush());
      const seconds = (performance.now() - started) / 1000;
      if (json) {
        writeLine(JSON.stringify({
          prompt: text,
          text: made,
          ids,
          tokens: ids.length,
          seconds,
          tokens_per_second: ids.length / seconds,
        }));
        return;
      }
      writeLine("");
      if (!args.flag("quiet")) {
        writeError(`${ids.length} tokens, ${(ids.length / seconds).toFixed(1)} a second`);
      }
    } finally {
      view.close();
      bench.close();
    }
  },
};

/** Text for a terminal: line ends and tabs stay, other control characters are made visible. */
function safe(text: string): string {
  return text.split(/([\n\t])/).map((part) => /[\n\t]/.test(part) ? part : printable(part)).join(
    "",
  );
}
