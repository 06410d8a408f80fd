/**
 * Helpers for the tests of dialects and targets; nothing else imports this file.
 *
 * @module
 */

import {
  type Checkpoint,
  type CodedTensor,
  isVector,
  type PlannedTensor,
  type QuantizedTensor,
  type ResolvedScheme,
  type Target,
  type TargetArguments,
  tiling,
} from "../../spec/mod.ts";
import { type MemoryOutput, memoryOutput } from "../containers/output.ts";
import { memorySource } from "../containers/source.ts";
import { openCheckpoint } from "../open.ts";
import { fitParameters } from "../parameters.ts";
import { encodeMatrix, forEachElement } from "../reference.ts";
import type { Tools } from "./coded.ts";

/** Rounds a matrix to nearest under a scheme, by the reference. */
export function quantizeReference(
  scheme: ResolvedScheme,
  x: Float32Array,
  rows: number,
  columns: number,
): QuantizedTensor {
  const tiles = tiling(scheme.granularity, rows, columns);
  const count = tiles.gridRows * tiles.gridColumns;
  const min = new Float32Array(count).fill(Infinity);
  const max = new Float32Array(count).fill(-Infinity);
  const extreme = new Float32Array(count);
  const sum = new Float64Array(count);
  const elements = new Uint32Array(count);
  forEachElement(tiles, (i, tile) => {
    min[tile] = Math.min(min[tile], x[i]);
    max[tile] = Math.max(max[tile], x[i]);
    if (Math.abs(x[i]) > Math.abs(extreme[tile])) extreme[tile] = x[i];
    sum[tile] += Math.abs(x[i]);
    elements[tile]++;
  });
  const mean = Float32Array.from(sum, (total, tile) => total / elements[tile]);
  const parameters = fitParameters(scheme, { min, max, extreme, mean, tiling: tiles });
  const codes = encodeMatrix(scheme, x, tiles, parameters);
  return { shape: [rows, columns], scheme, codes, parameters };
}

/** Numbers between -1 and 1 from a fixed sequence. */
export function noise(count: number, seed = 1): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** What is written for a planned tensor. */
export type Content = Uint8Array | CodedTensor;

/** An empty checkpoint, as the source of a conversion. */
export const NO_SOURCE: Checkpoint = {
  name: "none",
  kind: "safetensors",
  naming: "huggingface",
  config: {},
  tensors: new Map(),
  files: [],
  sidecars: new Map(),
  close() {},
};

/** Writes tensors by a target into memory. */
export async function writeTarget(
  target: Target,
  tensors: readonly [PlannedTensor, Content][],
  more: Partial<TargetArguments> = {},
): Promise<MemoryOutput> {
  const output = memoryOutput("out");
  const writer = await target.create({
    output,
    source: NO_SOURCE,
    config: { model_type: "llama" },
    sidecars: new Map(),
    tensors: tensors.map(([planned]) => planned),
    provenance: { lowbit: "0.0.0", recipe: "test" },
    ...more,
  });
  for (const [{ name }, content] of tensors) {
    if (content instanceof Uint8Array) await writer.plain(name, content);
    else if (isVector(content)) await writer.vector!(name, content);
    else await writer.coded(name, content);
  }
  await writer.finish();
  await output.commit();
  return output;
}

/** Opens what was written into memory. */
export function openMemory(output: MemoryOutput, tools: Tools = {}): Promise<Checkpoint> {
  const sources = [...output.files].map(([name, bytes]) => memorySource(name, bytes));
  return openCheckpoint(sources, tools);
}
