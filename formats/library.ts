/**
 * `open`: a checkpoint as a typed, lazy list of tensors, for programs that read them.
 *
 * @module
 */

import {
  type ByteSource,
  type Checkpoint,
  type Layout,
  LowbitError,
  PLAIN_BYTES,
  type QuantizedTensor,
  type ResolvedScheme,
  storageLabel,
  type StoredTensor,
} from "../spec/mod.ts";
import { elementCount } from "./containers/stored.ts";
import { openCheckpoint, type OpenOptions } from "./open.ts";

/** A range of one dimension: from `start` (0) to before `end` (the size). */
export interface TensorRange {
  /** The first index. */
  start?: number;
  /** The index behind the last one. */
  end?: number;
}

/** The codes of a tensor: of a quantised one with its parameters, of a plain one its stored bytes. */
export type TensorCodes =
  | { kind: "plain"; bytes: Uint8Array }
  | { kind: "coded"; tensor: QuantizedTensor };

/** A tensor of an opened checkpoint. Nothing is read before it is asked for. */
export interface OpenedTensor extends StoredTensor {
  /** The number format of an element, such as `bfloat16` or `int4`; of a foreign type its name. */
  readonly format: string;
  /** The scheme, for tensors of codes with scales. */
  readonly scheme?: ResolvedScheme;
  /** The layout of the codes, likewise. */
  readonly layout?: Layout;
  /** All values as f32, exactly. */
  dequantize(): Promise<Float32Array>;
  /** Codes with their parameters, or the bytes of a plain tensor; of some rows, if given. */
  codes(rows?: { start: number; end: number }): Promise<TensorCodes>;
  /**
   * The values of a part, a range for each of the first dimensions. Of a plain tensor just the bytes
   * of the part are read; of a quantised one those of its rows.
   */
  slice(...ranges: TensorRange[]): Promise<Float32Array>;
}

/** An opened checkpoint whose tensors have formats and slices. */
export interface OpenedCheckpoint extends Checkpoint {
  /** The tensors by name, in file order. */
  readonly tensors: ReadonlyMap<string, OpenedTensor>;
}

/**
 * Opens a checkpoint: a path, an address (`https:`, `hf:`, `s3:`), or files that a browser was given.
 * Only headers are read. See {@linkcode openCheckpoint} for what can be opened.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { open } from "./library.ts";
 *
 * using checkpoint = await open("tests/golden/containers/golden.gguf");
 * const tensor = checkpoint.tensors.get("q4_0")!;
 * assertEquals([tensor.format, tensor.scheme?.id, tensor.layout?.id], [
 *   "ggml_int4",
 *   "q4_0",
 *   "ggml_q4_0",
 * ]);
 * assertEquals([tensor.shape, tensor.bytes], [[4, 96], 216]);
 * const values = await tensor.dequantize();
 * const part = await tensor.slice({ start: 1, end: 2 }, { end: 3 });
 * assertEquals(part, values.slice(96, 99));
 * ```
 */
export async function open(
  source: string | readonly ByteSource[],
  options: OpenOptions = {},
): Promise<OpenedCheckpoint & Disposable> {
  const checkpoint = await openCheckpoint(source, options);
  const tensors = new Map<string, OpenedTensor>();
  for (const [name, tensor] of checkpoint.tensors) tensors.set(name, openedTensor(tensor));
  return { ...checkpoint, tensors, [Symbol.dispose]: () => checkpoint.close() };
}

function openedTensor(tensor: StoredTensor): OpenedTensor {
  const { storage, shape, name } = tensor;
  const coded = storage.kind === "coded" ? storage : undefined;
  return {
    ...tensor,
    format: coded ? coded.scheme.element.id : storageLabel(storage),
    ...(coded && { scheme: coded.scheme, layout: coded.layout }),
    dequantize: () => tensor.read(),
    async codes(rows): Promise<TensorCodes> {
      if (coded) return { kind: "coded", tensor: await tensor.quantized(rows) };
      if (storage.kind === "vector") {
        throw new LowbitError("FORMAT", "is in a vector format; use vector()", { field: name });
      }
      if (!rows) return { kind: "plain", bytes: await tensor.raw() };
      if (storage.kind !== "plain" || !tensor.bytesAt) {
        throw new LowbitError("FORMAT", "has no rows of codes", { field: name });
      }
      const [range] = checkRanges(name, shape, [rows]);
      const width = elementCount(shape.slice(1)) * PLAIN_BYTES[storage.type];
      const [at, length] = [range.start * width, (range.end - range.start) * width];
      return { kind: "plain", bytes: await tensor.bytesAt(at, length) };
    },
    slice: async (...ranges) => await slice(tensor, checkRanges(name, shape, ranges)),
  };
}

type FullRange = Required<TensorRange>;

function checkRanges(
  name: string,
  shape: readonly number[],
  ranges: readonly TensorRange[],
): FullRange[] {
  const fail = (problem: string) => new LowbitError("SHAPE", problem, { field: name });
  if (ranges.length > shape.length) {
    throw fail(`has ${shape.length} dimensions, not ${ranges.length}`);
  }
  return shape.map((size, i) => {
    const { start = 0, end = size } = ranges[i] ?? {};
    const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end);
    if (!whole || start < 0 || start > end || end > size) {
      throw fail(`${start} to ${end} is not within its ${size} of dimension ${i}`);
    }
    return { start, end };
  });
}

/** The runs of neighbouring elements that a part is made of: their starts, and their length. */
function runs(shape: readonly number[], ranges: readonly FullRange[]) {
  let split = shape.length;
  let length = 1;
  let stride = 1;
  // Whole inner dimensions belong to one run with the innermost cut one.
  while (split > 0) {
    split--;
    const { start, end } = ranges[split];
    length = (end - start) * stride;
    stride *= shape[split];
    if (end - start !== shape[split]) break;
  }
  let starts = [0];
  let step = elementCount(shape);
  for (let d = 0; d <= split && d < shape.length; d++) {
    step /= Math.max(1, shape[d]);
    const { start, end } = ranges[d];
    const count = d < split ? end - start : 1;
    starts = starts.flatMap((at) =>
      Array.from({ length: count }, (_, i) => at + (start + i) * step)
    );
  }
  return { starts, length };
}

/** Runs that are read one by one; more of them are read as rows. */
const MAX_RUNS = 65_536;

async function slice(tensor: StoredTensor, ranges: FullRange[]): Promise<Float32Array> {
  const { shape } = tensor;
  const size = ranges.reduce((product, { start, end }) => product * (end - start), 1);
  const out = new Float32Array(size);
  if (size === 0) return out;
  if (shape.length === 0) return await tensor.read();
  const { decodeAt } = tensor;
  const many = ranges.slice(0, -1).reduce((product, r) => product * (r.end - r.start), 1);
  if (decodeAt && many <= MAX_RUNS) {
    const { starts, length } = runs(shape, ranges);
    let at = 0;
    for (const start of starts) {
      out.set(await decodeAt(start, length), at);
      at += length;
    }
    return out;
  }
  // Row by row of the first dimension, so that no more than a row is held beside the part.
  const inner = shape.slice(1);
  const { starts, length } = runs(inner, ranges.slice(1));
  const step = Math.max(1, Math.floor(2 ** 22 / elementCount(inner)));
  const width = elementCount(inner);
  let at = 0;
  for (let row = ranges[0].start; row < ranges[0].end; row += step) {
    const end = Math.min(row + step, ranges[0].end);
    const values = await tensor.read({ start: row, end });
    for (let r = 0; r < end - row; r++) {
      for (const start of starts) {
        out.set(values.subarray(r * width + start, r * width + start + length), at);
        at += length;
      }
    }
  }
  return out;
}
