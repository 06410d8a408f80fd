/**
 * A checkpoint with an adapter on it: weights read as the sum of what is stored and a low-rank part.
 *
 * @module
 */

import {
  type Checkpoint,
  LowbitError,
  type LowRankPart,
  type QuantizedTensor,
  type StoredTensor,
  type VectorTensor,
} from "../spec/mod.ts";
import { openModel } from "../models/architecture.ts";
import type { ParameterInfo } from "../models/parameters.ts";
import { inverseRows, permuteRows } from "../models/rows.ts";
import { withLowRank } from "./low_rank_side.ts";

type Rows = { start: number; end: number };

/**
 * A checkpoint whose weights have low-rank parts added, by their names in Hugging Face's models.
 * Plain weights become f32; codes stay and get a side tensor, so that a quantised model takes an
 * adapter that was trained on it. Errors: `NOT_FOUND`, `SHAPE`, `UNSUPPORTED`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../embedded/mod.ts";
 * import { openCheckpoint } from "../formats/open.ts";
 * import { adaptCheckpoint } from "./adapted.ts";
 * const model = await openCheckpoint(embeddedPath("model"));
 * const name = "model.layers.0.self_attn.q_proj.weight";
 * const [rows, columns] = model.tensors.get(name)!.shape;
 * const [left, right] = [new Float32Array(rows).fill(1), new Float32Array(columns).fill(2)];
 * const part = { kind: "low_rank" as const, rank: 1, left, right };
 * const adapted = adaptCheckpoint(model, new Map([[name, part]]));
 * const [before, after] = [await model.tensors.get(name)!.read(), await adapted.tensors.get(name)!.read()];
 * assertEquals(after[5], Math.fround(before[5] + 2));
 * model.close();
 * ```
 */
export function adaptCheckpoint<C extends Checkpoint>(
  checkpoint: C,
  adapter: ReadonlyMap<string, LowRankPart>,
): C {
  const tensors = new Map(checkpoint.tensors);
  for (const [name, part] of adapter) {
    const place = tensors.has(name) ? { name, part } : placed(checkpoint, name, part);
    const base = tensors.get(place.name)!;
    checkFit(base, place.part, name);
    tensors.set(place.name, adapted(base, place.part));
  }
  return { ...checkpoint, tensors };
}

/** Where a weight of Hugging Face's names is in a checkpoint that names it otherwise. */
function placed(checkpoint: Checkpoint, name: string, part: LowRankPart) {
  const { parameters } = openModel(checkpoint);
  const parameter = parameters.find(({ names }) => names.huggingface === name);
  const stored = parameter?.names[checkpoint.naming];
  if (!parameter || !stored || !checkpoint.tensors.has(stored)) {
    throw new LowbitError("NOT_FOUND", "is in the adapter and not in the model", {
      field: name,
      advice: "give an adapter of this model",
    });
  }
  return { name: stored, part: { ...part, left: storedRows(parameter, checkpoint, part, name) } };
}

/** The left factor in the order in which the checkpoint has the rows. */
function storedRows(
  { views }: Pick<ParameterInfo, "views">,
  { naming }: Checkpoint,
  { left }: LowRankPart,
  field: string,
): Float32Array {
  const [from, to] = [views.huggingface, views[naming]];
  if ([from, to].some((view) => view && (view.slice || view.transposed || view.shape))) {
    throw new LowbitError("UNSUPPORTED", "is stored otherwise than the adapter has it", {
      field,
      advice: "put the adapter on the checkpoint of Hugging Face",
    });
  }
  const ordered = from?.order ? permuteRows(left, from.order()) : left;
  return to?.order ? permuteRows(ordered, inverseRows(to.order())) : ordered;
}

function checkFit({ shape }: StoredTensor, { rank, left, right }: LowRankPart, field: string) {
  const [rows, columns] = shape;
  if (shape.length === 2 && left.length === rows * rank && right.length === rank * columns) return;
  throw new LowbitError(
    "SHAPE",
    `is ${shape.join(" x ")}, but its part of the adapter is ` +
      `${left.length / rank} x ${right.length / rank}`,
    { field, advice: "give an adapter of this model" },
  );
}

/** A tensor with a part added. */
function adapted(base: StoredTensor, part: LowRankPart): StoredTensor {
  const [rows, columns] = base.shape;
  const coded = base.storage.kind === "coded" || base.storage.kind === "vector";
  const read = async (range?: Rows) =>
    addProduct(await base.read(range), columns, rowsOf(part, range ?? { start: 0, end: rows }));
  const withPart = <T extends QuantizedTensor | VectorTensor>(tensor: T, range?: Rows): T => ({
    ...tensor,
    side: withLowRank(tensor.side ?? [], range ? rowsOf(part, range) : part, columns),
  });
  return {
    name: base.name,
    shape: base.shape,
    storage: coded ? base.storage : { kind: "plain", type: "float32" },
    bytes: coded ? base.bytes + 4 * (part.left.length + part.right.length) : 4 * rows * columns,
    read,
    async raw() {
      const values = await read();
      if (!coded) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      throw new LowbitError("UNSUPPORTED", "has codes and an adapter, and no bytes of its own", {
        field: base.name,
        advice: "read its values, or write it with --to lowbit",
      });
    },
    quantized: async (range) => withPart(await base.quantized(range), range),
    ...(base.vector && { vector: async () => withPart(await base.vector!()) }),
  };
}

/** The part of some rows. */
function rowsOf({ left, ...part }: LowRankPart, { start, end }: Rows): LowRankPart {
  return { ...part, left: left.slice(start * part.rank, end * part.rank) };
}

/** `values + left right`: each product summed in f64, added, and rounded once. */
function addProduct(
  values: Float32Array,
  columns: number,
  { rank, left, right }: LowRankPart,
): Float32Array {
  const result = new Float32Array(values.length), sums = new Float64Array(columns);
  for (let row = 0; row * columns < values.length; row++) {
    sums.set(values.subarray(row * columns, (row + 1) * columns));
    for (let k = 0; k < rank; k++) {
      const factor = left[row * rank + k];
      for (let c = 0; c < columns; c++) sums[c] += factor * right[k * columns + c];
    }
    result.set(sums, row * columns);
  }
  return result;
}
