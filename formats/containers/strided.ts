/**
 * Plain tensors whose elements do not lie in the order of their shape, or in big-endian order: views
 * of PyTorch storages, arrays of NumPy in Fortran order.
 *
 * @module
 */

import { PLAIN_BYTES, type StoredTensor } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { decodePlain } from "./plain.ts";
import { elementCount, type PlainPlace, plainTensor, rowRange } from "./stored.ts";

/** Where the elements of a view lie. */
export interface StridedPlace extends PlainPlace {
  /** Elements between neighbours of each dimension. */
  strides: readonly number[];
  /** Elements of the storage from `offset` on. */
  available: number;
  /** Whether the bytes of an element are in big-endian order. */
  bigEndian?: boolean;
}

/** Elements of a view that repeats its storage: as many as a program would expand by chance. */
const MAX_REPEATED = 2 ** 24;

/** The strides of a shape whose elements lie in its own order. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = new Array(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/** The strides of a shape whose first dimension is the fastest. */
export function columnMajor(shape: readonly number[]): number[] {
  return rowMajor(shape.toReversed()).toReversed();
}

/** Elements from the first to behind the last one of a view. */
function span(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((sum, size, i) => sum + (size - 1) * strides[i], 1);
}

/**
 * A view as a tensor. Reading rows reads the bytes between their first and last element.
 *
 * Errors: `MALFORMED` if the view leaves its storage, `LIMIT` if it repeats it beyond reason.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memorySource } from "./source.ts";
 * import { stridedTensor } from "./strided.ts";
 * const source = memorySource("x", Uint8Array.of(1, 2, 3, 4, 5, 6));
 * const place = { name: "x", type: "uint8" as const, source, offset: 0, available: 6 };
 * const transposed = stridedTensor({ ...place, shape: [3, 2], strides: [1, 3] });
 * assertEquals([...await transposed.read()], [1, 4, 2, 5, 3, 6]);
 * ```
 */
export function stridedTensor(place: StridedPlace): StoredTensor {
  const { name, type, shape, strides, source, offset, available } = place;
  const size = PLAIN_BYTES[type];
  const fail = (code: "MALFORMED" | "LIMIT", problem: string) =>
    new LowbitError(code, problem, { file: source.name, field: name });
  if (!shape.reduce((fine, n, i) => fine && Number.isSafeInteger(n * strides[i]), true)) {
    throw fail("LIMIT", `its strides [${strides}] are too large`);
  }
  const reach = span(shape, strides);
  if (!Number.isSafeInteger(reach) || reach > available) {
    throw fail(
      "MALFORMED",
      `needs ${reach} elements of its storage, which has ${Math.max(0, available)}`,
    );
  }
  const count = elementCount(shape);
  if (count > Math.max(reach, MAX_REPEATED)) {
    throw fail("LIMIT", `repeats ${reach} elements to ${count}, more than ${MAX_REPEATED}`);
  }
  const ordered = !place.bigEndian && isOrdered(shape, strides);
  if (ordered) return plainTensor(place);
  const inner = shape.slice(1);
  const [rowStride = 0, ...innerStrides] = strides;
  const gather = async (start: number, end: number): Promise<Uint8Array<ArrayBuffer>> => {
    const rows = shape.length === 0 ? [] : [end - start];
    const wanted = [...rows, ...inner];
    const elements = span(wanted, shape.length === 0 ? [] : [rowStride, ...innerStrides]);
    const bytes = await source.read(offset + start * rowStride * size, elements * size);
    const out = new Uint8Array(elementCount(wanted) * size);
    copyView(bytes, out, wanted, strides, size);
    if (place.bigEndian) {
      for (let at = 0; at < out.length; at += size) out.subarray(at, at + size).reverse();
    }
    return out;
  };
  const { bytesAt: _bytes, decodeAt: _values, ...plain } = plainTensor(place);
  return {
    ...plain,
    async read(rows) {
      const { start, end } = rowRange(name, shape, rows);
      return decodePlain(type, await gather(start, end));
    },
    raw: () => gather(0, shape[0] ?? 1),
  };
}

function isOrdered(shape: readonly number[], strides: readonly number[]): boolean {
  const wanted = rowMajor(shape);
  return shape.includes(0) || shape.every((size, i) => size === 1 || strides[i] === wanted[i]);
}

/** Copies the elements of a view in the order of its shape. */
function copyView(
  from: Uint8Array,
  to: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  size: number,
): void {
  const count = elementCount(shape);
  const index = new Array<number>(shape.length).fill(0);
  let at = 0;
  for (let i = 0; i < count; i++) {
    for (let b = 0; b < size; b++) to[i * size + b] = from[at * size + b];
    for (let d = shape.length - 1; d >= 0; d--) {
      at += strides[d];
      if (++index[d] < shape[d]) break;
      at -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
}
