/**
 * Random cases of operations on f32 matrices, of transforms and of conversions; see `_cases.ts`.
 *
 * @module
 */

import { CONVERSIONS } from "../spec/kernels_convert.ts";
import type { Run } from "./_random.ts";
import { ACTIVATIONS } from "./checks_dense.ts";

/** Sizes of transforms: powers of two, and multiples of orders of many kinds. */
const SIZES = [1, 2, 4, 8, 16, 32, 64, 256, 12, 24, 48, 96, 20, 40, 28, 56, 36, 144, 52, 60, 92];

/** A case of every operation. */
export const DENSE_CASES: Record<
  | "hadamard"
  | "matmul"
  | "layerNorm"
  | "activate"
  | "softmax"
  | "absMax"
  | "histogram"
  | "percentile"
  | "convert",
  Run
> = {
  hadamard({ k, random, rows, columns: near }) {
    const columns = near > 40 ? random.of([576, 1536, 172]) : random.of(SIZES);
    using x = k.upload(random.floats(rows * columns));
    using signs = k.upload(Float32Array.from({ length: columns }, () => random.of([1, -1])));
    const transpose = random.int(0, 1) === 1;
    k.hadamard({ x, rows, columns, signs: random.int(0, 2) ? signs : undefined, transpose });
    return [x.array.slice()];
  },
  matmul({ k, random, rows: inner, columns }) {
    const tokens = random.of([0, 1, 2, 3, 4, 5, 7, 40]);
    using x = k.upload(random.floats(tokens * inner));
    using w = k.upload(random.floats(inner * columns));
    using y = k.upload(random.floats(tokens * columns));
    k.matmul({ x, w, y, tokens, inner, columns, transpose: random.int(0, 1) === 1 });
    return [y.array.slice()];
  },
  layerNorm({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns));
    using y = k.alloc("f32", rows * columns);
    using weight = k.upload(random.floats(columns));
    using bias = k.upload(random.floats(columns));
    const optional = random.int(0, 1) ? bias : undefined;
    k.layerNorm({ x, y, rows, columns, weight, bias: optional, epsilon: 1e-5 });
    return [y.array.slice()];
  },
  activate({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns, random.of([1, 10, 300])));
    using y = k.alloc("f32", rows * columns);
    k.activate({ x, y, kind: random.of(ACTIVATIONS) });
    return [y.array.slice()];
  },
  softmax({ k, random, rows, columns }) {
    using x = k.upload(random.floats(rows * columns, random.of([1, 20])));
    k.softmax({ x, rows, columns });
    return [x.array.slice()];
  },
  absMax({ k, random, rows, columns }) {
    const by = random.of(["row", "column"] as const);
    using x = k.upload(random.wild(rows * columns, true));
    using y = k.upload(random.floats(by === "row" ? rows : columns));
    k.absMax({ x, rows, columns, by, y });
    return [y.array.slice()];
  },
  histogram({ k, random, rows, columns }) {
    using x = k.upload(random.wild(rows * columns, true));
    using counts = k.upload(Float64Array.from(random.codes(random.int(1, 60), 9)));
    const low = random.normal();
    k.histogram({ x, low, high: low + random.of([1e-3, 0.7, 1000]), counts });
    return [counts.array.slice()];
  },
  percentile({ k, random, rows, columns }) {
    using x = k.upload(random.floats(Math.max(1, rows * columns)));
    const fraction = random.of([0, 1, 0.5, 0.999, random.bits() / 2 ** 32]);
    return [Float64Array.of(k.percentile({ x, fraction }))];
  },
  convert({ k, random, rows, columns }) {
    const { name, from, to, take, give, factor } = random.of(CONVERSIONS);
    const units = rows * columns;
    using x = from === "f32"
      ? k.upload(random.wild(units * take, true))
      : k.upload(random.codes(units * take, 256));
    using y = k.alloc(to, units * give);
    k.convert({ name, x, y, factor: factor ? random.of([1, 0.037, 200]) : undefined });
    return [y.array.slice()];
  },
};
