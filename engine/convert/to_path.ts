/**
 * Conversions whose output is a place on disk, or memory.
 *
 * @module
 */

import { outputAt, writeText } from "../../formats/containers/output_at.ts";
import type { Codecs, EventSink, Kernels, Recipe, Target } from "../../spec/mod.ts";
import { type ConversionResult, convertCheckpoint } from "./convert.ts";
import { mixturesOf } from "./mixtures.ts";
import type { ConvertOptions } from "./request.ts";
import { fallbacksOf, wantedType } from "./wanted.ts";

/** Converts as asked, `type` being what follows the target's name; a file gets its record beside it. */
export async function convertToPath(
  options: ConvertOptions,
  type: string | undefined,
  tools: {
    target: Target;
    kernels: Kernels;
    codecs: Codecs;
    recipes: Iterable<Recipe>;
    onEvent?: EventSink;
  },
): Promise<ConversionResult> {
  const { checkpoint, out, lossy, overwrite, signal } = options;
  const { id } = tools.target;
  const done = await convertCheckpoint({
    ...tools,
    checkpoint,
    ...(type !== undefined &&
      {
        wanted: wantedType(type, id, { mixtures: mixturesOf(tools.recipes), codecs: tools.codecs }),
      }),
    fallbacks: fallbacksOf(id),
    lossy,
    importance: options.importance,
    ...(out !== undefined && { output: await outputAt(out, tools.target, { overwrite }) }),
    signal,
  });
  if (typeof out === "string" && tools.target.output === "file") {
    await writeText(`${out}.conversion.json`, JSON.stringify(done, null, 2) + "\n");
  }
  return done;
}
