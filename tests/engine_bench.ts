/**
 * The engine on tiny models, in memory: test plugins, runs, and the result opened again.
 *
 * @module
 */

import { z } from "zod";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import {
  type Checkpoint,
  definePlugin,
  type Plan,
  type Plugin,
  PLUGIN_API_VERSION,
  type PluginMeta,
  type Receipt,
  type Recipe,
  recipeSchema,
  schema,
} from "../spec/mod.ts";
import { Workbench } from "../workbench.ts";
import { someWindows, UNTIED } from "./temporary.ts";

const kernels = await loadKernels();

/** A workbench on one thread, with more plugins. Its kernels are shared and stay open. */
export function bench(...plugins: Plugin[]): Workbench {
  return new Workbench(kernels, { plugins });
}

/** A plugin with some hooks. */
export function testPlugin(
  name: string,
  hooks: Omit<Plugin, "meta" | "options">,
  meta: Partial<PluginMeta> = {},
): Plugin {
  return definePlugin({
    meta: {
      name,
      version: "1.2.3",
      apiVersion: PLUGIN_API_VERSION,
      summary: "a plugin of a test",
      needs: { statistics: [] },
      supports: {},
      determinism: "exact",
      ...meta,
    },
    options: schema<unknown>(`options of ${name}`, z.strictObject({})),
    ...hooks,
  });
}

/** A recipe that runs plugins, by name, on the weights of all blocks. */
export function recipeOf(pipeline: string[], more: Record<string, unknown> = {}): Recipe {
  return recipeSchema.parse({
    name: "test",
    assign: [{ select: ["blocks.*"], weight: "int8_channel_sym" }],
    pipeline: pipeline.map((use) => ({ use })),
    ...more,
  });
}

/** Calibration windows for the tiny models. */
export const WINDOWS: Int32Array[] = someWindows(3, 24, 60);

/** What a run leaves behind. */
export interface Outcome extends Disposable {
  /** The plan. */
  plan: Plan;
  /** The receipt. */
  receipt: Receipt;
  /** The files by name. */
  files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** The files opened again. */
  model: Checkpoint;
}

/** Quantises a model (the tiny one without tied weights, if none is named) into memory. */
export async function run(
  lowbit: Workbench,
  recipe: string | Recipe,
  options: { from?: string; calibration?: Int32Array[]; to?: string } = {},
): Promise<Outcome> {
  const { from = UNTIED, calibration = WINDOWS, to } = options;
  const source = await lowbit.open(from);
  const out = memoryOutput("out");
  const { plan, receipt } = await lowbit.quantize({ model: source, recipe, out, calibration, to })
    .finally(() => source.close());
  const { files } = out;
  const model = await lowbit.open([...files].map(([name, bytes]) => memorySource(name, bytes)));
  return { plan, receipt, files, model, [Symbol.dispose]: () => model.close() };
}

/** The figures of a model on the windows, beside the tiny model. */
export async function figures(
  lowbit: Workbench,
  model: Checkpoint,
  from = UNTIED,
): Promise<Record<string, number>> {
  const reference = await lowbit.open(from);
  try {
    return await lowbit.evaluate({ model, windows: WINDOWS, reference });
  } finally {
    reference.close();
  }
}
