/**
 * Outlier-victim pairs.
 *
 * @module
 */

import {
  type ElementEncoder,
  LowbitError,
  type NumberFormat,
  type PairFormat,
  type VectorEncodeOptions,
  type VectorShape,
} from "../../spec/mod.ts";
import { decodeTable, encodeElement } from "../reference.ts";
import { applyEncoder, elementEncoder } from "../steps.ts";
import type { Encoded, VectorCoder } from "./coder.ts";

/** One kind of elements of a pair. */
interface Elements {
  encoder: ElementEncoder;
  table: Float32Array;
}

/** The coder of outlier-victim pairs (OliVe, arXiv 2304.07493, algorithm 1). */
export class PairCoder implements VectorCoder {
  readonly #format: PairFormat;
  readonly #normal: Elements;
  readonly #outlier: Elements;

  /** Of a format whose number formats are looked up. Error: `FORMAT`. */
  constructor(format: PairFormat) {
    this.#format = format;
    this.#normal = elements(format, "normal");
    this.#outlier = elements(format, "outlier");
  }

  /** The codes: which element of a pair is an outlier, if any, and what becomes of both. */
  encode(x: Float32Array, _shape: VectorShape, _options: VectorEncodeOptions): Encoded {
    const codes = new Uint32Array(x.length / 2);
    for (let i = 0; i < codes.length; i++) codes[i] = this.#pair(x[2 * i], x[2 * i + 1]);
    return { codes };
  }

  #pair(left: number, right: number): number {
    const { threshold, survivor, identifier, bits } = this.#format;
    const outlierLeft = Math.abs(left) > threshold;
    const outlierRight = Math.abs(right) > threshold;
    if (!outlierLeft && !outlierRight) {
      const { encoder } = this.#normal;
      return applyEncoder(encoder, left) | applyEncoder(encoder, right) << bits;
    }
    const keepsLeft = outlierLeft &&
      (!outlierRight || survivor === "left" || Math.abs(left) >= Math.abs(right));
    const code = applyEncoder(this.#outlier.encoder, keepsLeft ? left : right);
    return keepsLeft ? code | identifier << bits : identifier | code << bits;
  }

  /** The values; a pair of two identifiers, which is never written, reads as zeros. */
  decode({ codes }: Encoded, _shape: VectorShape): Float32Array {
    const { identifier, bits } = this.#format;
    const [normal, outlier] = [this.#normal.table, this.#outlier.table];
    const out = new Float32Array(2 * codes.length);
    codes.forEach((code, i) => {
      const [left, right] = [code & (2 ** bits - 1), code >>> bits];
      const [victimLeft, victimRight] = [left === identifier, right === identifier];
      const table = victimLeft || victimRight ? outlier : normal;
      out[2 * i] = victimLeft ? 0 : table[left];
      out[2 * i + 1] = victimRight ? 0 : table[right];
    });
    return out;
  }
}

/** Codec parts of one of the number formats, which must leave the identifier free. */
function elements(format: PairFormat, field: "normal" | "outlier"): Elements {
  const element = format[field] as NumberFormat;
  const fail = (problem: string) => new LowbitError("FORMAT", problem, { file: format.id, field });
  if (element.bits !== format.bits) {
    throw fail(`${element.id} has ${element.bits} bits, the pair has ${format.bits} an element`);
  }
  const table = decodeTable(element);
  const value = table[format.identifier];
  const used = [value, -Infinity, Infinity].some((x) =>
    !Number.isNaN(x) && encodeElement(element, x) === format.identifier
  );
  if (used) throw fail(`${element.id} uses the code ${format.identifier}, which marks victims`);
  // Codes without a meaning are never written; they read as zero.
  return { encoder: elementEncoder(element), table: table.map((x) => Number.isFinite(x) ? x : 0) };
}
