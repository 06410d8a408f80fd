/**
 * Whole numbers of a few bits as the bit planes of `planeWeight`.
 *
 * @module
 */

import * as check from "./checks.ts";

/** Codes of 1 to 8 bits, `(code - zero) * scale`, for {@linkcode integerPlanes}. */
export interface IntegerPlanesArguments {
  /** Output channels. */
  rows: number;
  /** Input channels. */
  columns: number;
  /** Bits of a code. */
  bits: number;
  /** One code an element, `[rows, columns]`. */
  codes: Uint8Array;
  /** Columns of a group: a multiple of 8, or at least all. */
  group: number;
  /** `[rows][ceil(columns / group)]`. */
  scales: Float32Array;
  /** Zero points, like scales; absent for 0. */
  zeros?: Float32Array;
}

/** What `planeWeight` takes. */
export interface IntegerPlanes {
  /** Output channels. */
  rows: number;
  /** Input channels. */
  columns: number;
  /** Planes: the bits of a code. */
  planes: number;
  /** `[planes][rows][ceil(columns / 8)]`. */
  bits: Uint8Array;
  /** Columns of a group. */
  group: number;
  /** `2^(i - 1) * scale`. */
  alphas: Float32Array;
  /** `((2^bits - 1) / 2 - zero) * scale`. */
  offsets: Float32Array;
}

/**
 * The planes of whole numbers. Since a bit is `(b + 1) / 2` for a sign b,
 * `(code - zero) s = sum_i 2^(i-1) s b_i + ((2^bits - 1) / 2 - zero) s`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKernels } from "./mod.ts";
 * import { integerPlanes } from "./integer_planes.ts";
 * const kernels = await loadKernels();
 * const codes = Uint8Array.of(0, 1, 2, 3);
 * const shape = { rows: 1, columns: 4, bits: 2, codes, group: 8 };
 * using weight = kernels.planeWeight(integerPlanes({ ...shape, scales: Float32Array.of(2) }));
 * using x = kernels.upload(Float32Array.of(1, 1, 1, 10));
 * using y = kernels.alloc("f32", 1);
 * kernels.linearPlanes({ x, y, tokens: 1, weight });
 * assertEquals(y.array[0], 2 * (0 + 1 + 2 + 30));
 * ```
 */
export function integerPlanes(a: IntegerPlanesArguments): IntegerPlanes {
  check.whole("rows", a.rows);
  check.whole("columns", a.columns);
  check.whole("bits", a.bits, 1, 8);
  check.whole("group", a.group, 1);
  const { rows, columns, bits: planes, group } = a;
  const [rowBytes, groups] = [Math.ceil(columns / 8), Math.ceil(columns / group)];
  if (a.codes.length !== rows * columns) {
    check.refuse("codes", `has ${a.codes.length} entries, expected ${rows * columns}`);
  }
  if (a.scales.length !== rows * groups) {
    check.refuse("scales", `has ${a.scales.length} entries, expected ${rows * groups}`);
  }
  if (a.zeros && a.zeros.length !== rows * groups) {
    check.refuse("zeros", `has ${a.zeros.length} entries, expected ${rows * groups}`);
  }
  const bits = new Uint8Array(planes * rows * rowBytes);
  a.codes.forEach((code, at) => {
    const [r, c] = [Math.floor(at / columns), at % columns];
    for (let i = 0; i < planes; i++) {
      bits[(i * rows + r) * rowBytes + (c >> 3)] |= (code >> i & 1) << (c & 7);
    }
  });
  const count = rows * groups;
  const alphas = Float32Array.from(
    { length: planes * count },
    (_, i) => 2 ** (Math.floor(i / count) - 1) * a.scales[i % count],
  );
  const middle = (2 ** planes - 1) / 2;
  const offsets = a.scales.map((s, i) => (middle - (a.zeros?.[i] ?? 0)) * s);
  return { rows, columns, planes, bits, group, alphas, offsets };
}
