/**
 * The meaning of products by look-up and of side tensors. Weights keep what they were made of.
 *
 * @module
 */

import type {
  CodebookWeightArguments,
  LookupKernels,
  LookupWeight,
  PlaneWeightArguments,
  ProductArguments,
} from "../spec/kernels_lookup.ts";
import { refuse } from "./checks.ts";
import * as check from "./checks_lookup.ts";
import { linear } from "./reference_algebra.ts";

type ArgumentsOf<Name extends keyof LookupKernels> = Parameters<LookupKernels[Name]>[0];

const fround = Math.fround;

/** Who counts the bytes held. */
export type Hold = (bytes: number) => void;

/** A weight as a function: what it makes of the activations of a token. */
class PlainLookupWeight<Parts> implements LookupWeight {
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
  #parts?: Parts;
  #hold: Hold;

  constructor(
    readonly form: LookupWeight["form"],
    shape: { rows: number; columns: number },
    parts: Parts,
    bytes: number,
    hold: Hold,
  ) {
    this.rows = shape.rows;
    this.columns = shape.columns;
    this.#parts = parts;
    this.bytes = bytes;
    this.#hold = hold;
    hold(bytes);
  }

  get parts(): Parts {
    return this.#parts ?? refuse("weight", "is used after it was freed");
  }

  free(): void {
    if (this.#parts) this.#hold(-this.bytes);
    this.#parts = undefined;
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

function own<Parts>(weight: LookupWeight): Parts {
  if (!(weight instanceof PlainLookupWeight)) refuse("weight", "was not made by these kernels");
  return weight.parts as Parts;
}

type Planes = PlaneWeightArguments & { group: number; groups: number };

/** See {@linkcode LookupKernels.planeWeight}. */
export function planeWeight(a: PlaneWeightArguments, hold: Hold): LookupWeight {
  const { group, groups } = check.planes(a);
  const parts: Planes = {
    ...a,
    group,
    groups,
    bits: a.bits.slice(),
    alphas: a.alphas?.slice(),
    offsets: a.offsets?.slice(),
  };
  const bytes = a.bits.length + 4 * ((a.alphas?.length ?? 0) + (a.offsets?.length ?? 0));
  return new PlainLookupWeight("planes", a, parts, bytes, hold);
}

/** Whether the bit of a plane is set. */
function isSet(w: Planes, plane: number, row: number, column: number): boolean {
  if (column >= w.columns) return false;
  const byte = w.bits[(plane * w.rows + row) * Math.ceil(w.columns / 8) + (column >> 3)];
  return (byte >> (column & 7) & 1) === 1;
}

/** See {@linkcode LookupKernels.linearPlanes}. */
export function linearPlanes(a: ProductArguments): void {
  check.product(a, "planes");
  const w = own<Planes>(a.weight);
  const { rows, columns, planes, group, groups, alphas, offsets } = w;
  if (!alphas) refuse("weight", "has no alphas");
  for (let t = 0; t < a.tokens; t++) {
    const x = a.x.array.subarray(t * columns, (t + 1) * columns);
    for (let r = 0; r < rows; r++) {
      let total = 0;
      for (let g = 0; g < groups; g++) {
        const end = Math.min((g + 1) * group, columns);
        const sums = (sign: (c: number) => number) => {
          let sum = 0;
          for (let c = g * group; c < end; c += 4) {
            const term = (i: number) => sign(c + i) * (x[c + i] ?? 0);
            const entry = fround(fround(term(0) + term(1)) + fround(term(2) + term(3)));
            sum = fround(sum + entry);
          }
          return sum;
        };
        let sum = 0;
        for (let p = 0; p < planes; p++) {
          const part = sums((c) => isSet(w, p, r, c) ? 1 : -1);
          sum = fround(sum + fround(alphas[(p * rows + r) * groups + g] * part));
        }
        if (offsets) sum = fround(sum + fround(offsets[r * groups + g] * sums(() => 1)));
        total = fround(total + sum);
      }
      a.y.array[t * rows + r] = total;
    }
  }
}

/** See {@linkcode LookupKernels.linearPlanesInt}. */
export function linearPlanesInt(a: ArgumentsOf<"linearPlanesInt">): void {
  check.product(a, "planes", { x: "u8", y: "i32" });
  const w = own<Planes>(a.weight);
  const { rows, columns, planes } = w;
  check.factors(a, planes);
  for (let t = 0; t < a.tokens; t++) {
    const x = new Int8Array(a.x.array.slice(t * columns, (t + 1) * columns).buffer);
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) {
        for (let p = 0; p < planes; p++) if (isSet(w, p, r, c)) sum += a.factors[p] * x[c];
        sum += a.offset * x[c];
      }
      a.y.array[t * rows + r] = sum;
    }
  }
}

/** See {@linkcode LookupKernels.linearBinary}. */
export function linearBinary(a: ArgumentsOf<"linearBinary">): void {
  check.binary(a);
  const { tokens, rows, columns } = a;
  const bytes = Math.ceil(columns / 8);
  const sign = (bits: Uint8Array, row: number, c: number) =>
    bits[row * bytes + (c >> 3)] >> (c & 7) & 1 ? 1 : -1;
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let dot = 0;
      for (let c = 0; c < columns; c++) dot += sign(a.x.array, t, c) * sign(a.w.array, r, c);
      const scaled = fround(dot * (a.xScales?.array[t] ?? 1));
      a.y.array[t * rows + r] = scaled * (a.wScales?.array[r] ?? 1);
    }
  }
}

/** See {@linkcode LookupKernels.linearFp6}. */
export function linearFp6(a: ArgumentsOf<"linearFp6">): void {
  check.fp6(a);
  const { tokens, rows, columns } = a;
  const [mantissa, unit] = a.format === "e3m2" ? [2, 2 ** -4] : [3, 2 ** -3];
  const weight = (r: number, c: number) => {
    const upper = a.high.array[r * Math.ceil(columns / 2) + (c >> 1)] >> (4 * (c & 1)) & 15;
    const lower = a.low.array[r * Math.ceil(columns / 4) + (c >> 2)] >> (2 * (c & 3)) & 3;
    const code = upper << 2 | lower;
    const [exponent, fraction] = [code >> mantissa & (31 >> mantissa), code & (2 ** mantissa - 1)];
    const magnitude = exponent ? (2 ** mantissa + fraction) * 2 ** (exponent - 1) : fraction;
    return code & 32 ? -magnitude : magnitude;
  };
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      const s = new Float32Array(16);
      for (let c = 0; c < columns; c++) {
        s[c % 16] += fround(a.x.array[t * columns + c] * weight(r, c));
      }
      const four = [0, 1, 2, 3].map((i) =>
        fround(fround(s[i] + s[i + 4]) + fround(s[i + 8] + s[i + 12]))
      );
      const sum = fround(fround(four[0] + four[1]) + fround(four[2] + four[3]));
      a.y.array[t * rows + r] = sum * fround(a.scales.array[r] * unit);
    }
  }
}

/** See {@linkcode LookupKernels.codebookWeight}: the weight is decoded at once. */
export function codebookWeight(a: CodebookWeightArguments, hold: Hold): LookupWeight {
  const { entries, groups } = check.codebook(a);
  const { rows, columns, dim } = a;
  const values = Float32Array.from({ length: rows * columns }, (_, at) => {
    const [r, c] = [Math.floor(at / columns), at % columns];
    let value = 0;
    for (let book = 0; book < a.books; book++) {
      const code = a.codes[(book * rows + r) * (columns / dim) + Math.floor(c / dim)];
      const entry = a.tables[(book * entries + code) * dim + c % dim];
      value = book ? fround(value + entry) : entry;
    }
    return value * a.scales[r * groups + Math.floor(c / a.group)];
  });
  return new PlainLookupWeight("codebook", a, { values, rows, columns }, values.byteLength, hold);
}

/** See {@linkcode LookupKernels.linearCodebook}. */
export function linearCodebook(a: ProductArguments): void {
  check.product(a, "codebook");
  linear(a.x.array, a.y.array, a.tokens, own(a.weight));
}

type Sparse = { starts: Uint32Array; indices: Uint32Array; values: Float32Array };

/** See {@linkcode LookupKernels.sparseWeight}. */
export function sparseWeight(a: ArgumentsOf<"sparseWeight">, hold: Hold): LookupWeight {
  const starts = check.sparse(a);
  const parts: Sparse = { starts, indices: a.columnIndex.slice(), values: a.values.slice() };
  const bytes = starts.byteLength + 8 * a.values.length;
  return new PlainLookupWeight("sparse", a, parts, bytes, hold);
}

/** See {@linkcode LookupKernels.addSparse}. */
export function addSparse(a: ProductArguments): void {
  check.product(a, "sparse");
  const { starts, indices, values } = own<Sparse>(a.weight);
  const { rows, columns } = a.weight;
  for (let t = 0; t < a.tokens; t++) {
    for (let r = 0; r < rows; r++) {
      if (starts[r] === starts[r + 1]) continue;
      let sum = 0;
      for (let j = starts[r]; j < starts[r + 1]; j++) {
        sum = fround(sum + fround(values[j] * a.x.array[t * columns + indices[j]]));
      }
      a.y.array[t * rows + r] += sum;
    }
  }
}

type LowRank = { rank: number; left: Float32Array; right: Float32Array };

/** See {@linkcode LookupKernels.lowRankWeight}. */
export function lowRankWeight(a: ArgumentsOf<"lowRankWeight">, hold: Hold): LookupWeight {
  check.lowRank(a);
  const parts: LowRank = { rank: a.rank, left: a.left.slice(), right: a.right.slice() };
  const bytes = a.left.byteLength + a.right.byteLength;
  return new PlainLookupWeight("low_rank", a, parts, bytes, hold);
}

/** See {@linkcode LookupKernels.addLowRank}. */
export function addLowRank(a: ProductArguments): void {
  check.product(a, "low_rank");
  const { rank, left, right } = own<LowRank>(a.weight);
  const { rows, columns } = a.weight;
  const inner = new Float32Array(a.tokens * rank);
  const outer = new Float32Array(a.tokens * rows);
  linear(a.x.array, inner, a.tokens, { values: right, rows: rank, columns });
  linear(inner, outer, a.tokens, { values: left, rows, columns: rank });
  outer.forEach((v, i) => a.y.array[i] += v);
}
