/**
 * Reading parameters: tensors of a checkpoint as the graph has them, whatever order of rows and
 * whatever storage the container uses, and never with a NaN in them.
 *
 * @module
 */

import { LowbitError, type StoredTensor } from "../spec/mod.ts";
import { type ModelGraph, parameterOf } from "./architecture.ts";
import { valuesTensor } from "./folded.ts";
import { graphTensor } from "./views.ts";

/**
 * Throws `NON_FINITE` where there is a NaN or an infinity. `what` says what the values are.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "../spec/mod.ts";
 * import { checkFinite } from "./weights.ts";
 * const check = () => checkFinite(Float32Array.of(1, NaN), "model.safetensors", "norm.weight");
 * assertThrows(check, LowbitError, "norm.weight: a weight is NaN (element 1)");
 * ```
 */
export function checkFinite(
  values: Float32Array,
  file: string,
  tensor: string,
  what = "a weight",
): void {
  // Each stays 0 for finite values, and becomes NaN otherwise; four, so that none waits for another.
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = values.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    a += values[i] * 0;
    b += values[i + 1] * 0;
    c += values[i + 2] * 0;
    d += values[i + 3] * 0;
  }
  for (let i = whole; i < values.length; i++) a += values[i] * 0;
  if (a + b + c + d === 0) return;
  const index = values.findIndex((value) => !Number.isFinite(value));
  throw new LowbitError("NON_FINITE", `${what} is ${values[index]} (element ${index})`, {
    file,
    field: tensor,
    advice: "the checkpoint is damaged or did not survive its training",
  });
}

/**
 * The tensor of a parameter, with its rows in the order of the graph; a tied parameter has that of
 * the one that it is tied to. `read` and `quantized` refuse weights and scales that are not finite
 * (`NON_FINITE`); `raw` gives the bytes in the order of the file.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { openModel } from "./architecture.ts";
 * import { parameterTensor } from "./weights.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * const tensor = parameterTensor(openModel(checkpoint), "blocks.0.attention.key");
 * assertEquals(tensor.shape, [128, 256]);
 * assertEquals((await tensor.read({ start: 0, end: 1 })).length, 256);
 * checkpoint.close();
 * ```
 */
export function parameterTensor(model: ModelGraph, id: string): StoredTensor {
  const { checkpoint } = model;
  const parameter = parameterOf(model, id);
  const name = parameter.names[checkpoint.naming];
  const made = parameter.made;
  const tensor = checkpoint.tensors.get(name) ?? (made && valuesTensor(name, made));
  if (tensor === undefined) {
    throw new LowbitError("NOT_FOUND", "is missing", { file: checkpoint.name, field: name });
  }
  const view = graphTensor(tensor, parameter.shape, parameter.views[checkpoint.naming]);
  const finite = (values: Float32Array | undefined, what?: string) => {
    if (values !== undefined) checkFinite(values, checkpoint.name, name, what);
  };
  return {
    name,
    shape: view.shape,
    storage: view.storage,
    bytes: view.bytes,
    raw: () => tensor.raw(),
    async read(rows) {
      const values = await view.read(rows);
      finite(values);
      return values;
    },
    async quantized() {
      const quantized = await view.quantized();
      finite(quantized.parameters.scales, "a scale");
      finite(quantized.parameters.zeros, "a zero point");
      return quantized;
    },
    ...(view.vector && { vector: () => view.vector!() }),
  };
}

/** The most rows that {@linkcode readRows} reads at a time, and the largest gap it reads across. */
const RUN = 4096, GAP = 16;

/**
 * Some rows of a matrix, as `[rows.length, columns]` in the order asked for. Rows that lie close to
 * each other are read together, at most 4096 at a time, so that an embedding never has to be in
 * memory as a whole.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memorySource } from "../formats/containers/source.ts";
 * import { plainTensor } from "../formats/containers/stored.ts";
 * import { readRows } from "./weights.ts";
 * const source = memorySource("m.bin", new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
 * const tensor = plainTensor({ name: "x", type: "float32", shape: [2, 2], source, offset: 0 });
 * assertEquals([...await readRows(tensor, [1, 0, 1])], [3, 4, 1, 2, 3, 4]);
 * ```
 */
export async function readRows(
  tensor: StoredTensor,
  rows: ArrayLike<number>,
): Promise<Float32Array> {
  const columns = tensor.shape[1];
  const result = new Float32Array(rows.length * columns);
  const places = Array.from(rows, (row, place) => ({ row, place })).sort((a, b) => a.row - b.row);
  for (let first = 0; first < places.length;) {
    const start = places[first].row;
    let last = first;
    while (
      last + 1 < places.length && places[last + 1].row - places[last].row <= GAP &&
      places[last + 1].row - start < RUN
    ) last++;
    const values = await tensor.read({ start, end: places[last].row + 1 });
    for (; first <= last; first++) {
      const { row, place } = places[first];
      const from = (row - start) * columns;
      result.set(values.subarray(from, from + columns), place * columns);
    }
  }
  return result;
}
