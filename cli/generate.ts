/**
 * `lowbit generate`
 *
 * @module
 */

import { LowbitError, printable } from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import type { Command } from "./arguments.ts";
import { adapterOption, withAdapters } from "./adapter_option.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import {
  activationsOf,
  activationsOption,
  cacheOf,
  cacheOptions,
  deviceOf,
  deviceOption,
  importPlugins,
  pluginOptions,
} from "./inputs.ts";
import { progressView, writeError, writeLine } from "./progress.ts";

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
    adapterOption,
    activationsOption,
    deviceOption,
    ...SOURCE_OPTIONS,
    ...cacheOptions,
    ...pluginOptions,
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
  ],
  async run(args) {
    const prompt = args.text("prompt");
    if (prompt === undefined) {
      throw new LowbitError("USAGE", "--prompt is missing", {
        advice: 'as in --prompt "Once upon a time"',
      });
    }
    const view = progressView(args);
    const { onEvent } = view;
    const cache = cacheOf(args);
    using lowbit = await createWorkbench({
      sources: sourceOptions(args),
      threads: args.number("threads") ?? 0,
      device: deviceOf(args),
      plugins: await importPlugins(args),
      onEvent,
    });
    const model = await withAdapters(args, await lowbit.open(args.positional[0]));
    const json = args.flag("json");
    const ids: number[] = [];
    let text = "";
    let started = 0;
    let held: { held: number; f32: number } | undefined;
    const show = (piece: string) => {
      if (!json) Deno.stdout.writeSync(new TextEncoder().encode(safe(piece)));
    };
    try {
      const pieces = lowbit.generate({
        model,
        prompt,
        tokens: args.number("tokens"),
        temperature: args.number("temperature"),
        seed: args.number("seed"),
        activations: activationsOf(args),
        cache,
        onCache: (bytes) => held = bytes,
        onToken(id) {
          // The first token also stands for loading and for reading the prompt.
          if (ids.push(id) === 1) {
            started = performance.now();
            view.close();
            show(prompt);
          }
        },
      });
      for await (const piece of pieces) {
        text += piece;
        show(piece);
      }
    } finally {
      view.close();
      model.close();
    }
    const seconds = (performance.now() - started) / 1000;
    const speed = ids.length > 1 ? (ids.length - 1) / seconds : undefined;
    if (json) {
      const figures = { tokens: ids.length, seconds, tokens_per_second: speed };
      const memory = held && { cache_bytes: held.held, cache_bytes_f32: held.f32 };
      return writeLine(JSON.stringify({ prompt, text, ids, ...figures, ...memory }));
    }
    writeLine("");
    if (!args.flag("quiet") && speed) {
      writeError(`${ids.length} tokens, ${speed.toFixed(1)} a second`);
      if (held) writeError(`${held.held} bytes of cache, ${held.f32} in f32`);
    }
  },
};

/** Text for a terminal: line ends and tabs stay, other control characters are made visible. */
function safe(text: string): string {
  return text.split(/([\n\t])/).map((part) => /[\n\t]/.test(part) ? part : printable(part)).join(
    "",
  );
}
