/**
 * Checking a vector format: what `lowbit formats test` does with a file whose family is one of
 * these.
 *
 * @module
 */

import { LowbitError, type VectorFormat, vectorUnit } from "../../spec/mod.ts";
import type { Check } from "../check_format.ts";
import { vectorCodec } from "./codec.ts";
import { pointSet } from "./grid.ts";
import { packCodes, unpackCodes } from "./pack.ts";
import { fixedRandom } from "./random.ts";
import { stateValues } from "./trellis.ts";

/** Codes that are tried where there are more of them. */
const MOST_CODES = 1 << 16;

/**
 * Checks that fixed vectors round-trip, that learned tables gain, that steps of a trellis mean their
 * states, that codes pack, and that `expect` holds.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { checkVectorFormat } from "./check.ts";
 * assert(checkVectorFormat(vectorFormat("d4_k256")).every(({ ok }) => ok));
 * ```
 */
export function checkVectorFormat(format: VectorFormat): Check[] {
  return [
    ...(format.family === "pair" || format.family === "grid" ? [roundTrips(format)] : []),
    gains(format),
    packs(format),
    ...expectations(format),
  ];
}

function check(name: string, problems: string[], cases: number): Check {
  const shown = problems.slice(0, 3).join("; ");
  return {
    name,
    ok: problems.length === 0,
    detail: problems.length === 0 ? `${cases} cases` : shown + (problems.length > 3 ? "; ..." : ""),
  };
}

/** A format with the scale 1, so that its vectors are those of the table. */
function unscaled(format: VectorFormat): VectorFormat {
  if (!("scale" in format) || !format.scale) return format;
  const scale = { ...format.scale, granularity: { kind: "tensor" as const }, factors: [1] };
  return { ...format, scale: { ...scale, format: "float32" } } as VectorFormat;
}

/** The vectors of some codes of a format whose unit is one code, before the scale. */
function vectorsOf(format: VectorFormat, codes: Uint32Array): Float32Array {
  const { unitColumns } = vectorUnit(format);
  return vectorCodec(unscaled(format)).decode({
    kind: "vector",
    shape: [1, codes.length * unitColumns],
    format: unscaled(format),
    codes,
    scales: Float32Array.of(1),
  });
}

/** Every vector is its own nearest: the code that it gets means the same vector. */
function roundTrips(format: VectorFormat & { family: "pair" | "grid" }): Check {
  const bits = format.family === "pair" ? 2 * format.bits : format.bits;
  const random = fixedRandom();
  const codes = Uint32Array.from(
    { length: Math.min(2 ** bits, MOST_CODES) },
    (_, i) => 2 ** bits <= MOST_CODES ? i : Math.floor(random() * 2 ** bits),
  );
  const values = vectorsOf(format, codes);
  const dimension = values.length / codes.length;
  // The scale of these values must be 1, which a statistic of them would not give.
  const again = encodeUnscaled(format, values);
  const back = vectorsOf(format, again);
  const problems: string[] = [];
  codes.forEach((code, i) => {
    const [from, to] = [i * dimension, (i + 1) * dimension];
    const [before, after] = [values.subarray(from, to), back.subarray(from, to)];
    if (before.every((value, j) => value === after[j])) return;
    problems.push(`code ${code} means ${[...before]}, which becomes ${[...after]}`);
  });
  return check("every code round-trips", problems, codes.length);
}

/** The codes of vectors at scale 1: one largest element is added to set the scale by. */
function encodeUnscaled(
  format: VectorFormat & { family: "pair" | "grid" },
  values: Float32Array,
): Uint32Array {
  const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const scale = {
    granularity: { kind: "tensor" as const },
    format: "float32",
    statistic: "absmax" as const,
    factors: [1 / largest],
  };
  const { codes } = vectorCodec({ ...format, scale }).encode(values, 1, values.length);
  return codes;
}

/** A matrix comes back nearer to itself than zeros are. */
function gains(format: VectorFormat): Check {
  const { unitRows: rows, unitColumns } = vectorUnit(format);
  const columns = Math.ceil(512 / unitColumns) * unitColumns;
  if (format.family === "trellis") return decodesSteps(format);
  const random = fixedRandom();
  const x = Float32Array.from({ length: rows * columns }, () => random() + random() - 1);
  const codec = vectorCodec(format);
  const tensor = codec.encode(x, rows, columns);
  const back = codec.decode(tensor);
  const signal = x.reduce((sum, value) => sum + value * value, 0);
  const error = x.reduce((sum, value, i) => sum + (value - back[i]) ** 2, 0);
  const problems = error < signal
    ? []
    : [`the error ${error} is not below the values' own ${signal}`];
  return check("the encoder is better than zeros", problems, x.length);
}

/** Each step of a trellis shows the value of the state that the bits before it make. */
function decodesSteps(format: VectorFormat & { family: "trellis" }): Check {
  const { unitCodes } = vectorUnit(format);
  const random = fixedRandom();
  const step = format.bits * format.vector;
  const codes = Uint32Array.from(
    { length: unitCodes },
    () => Math.floor(random() * 2 ** step),
  );
  const values = vectorsOfTile(format, codes);
  const table = stateValues(format);
  const problems: string[] = [];
  const needed = Math.ceil(format.state / step);
  for (let t = needed; t < codes.length; t++) {
    let state = 0n;
    for (let i = t - needed; i <= t; i++) state = (state << BigInt(step)) | BigInt(codes[i]);
    const s = Number(BigInt.asUintN(format.state, state));
    for (let v = 0; v < format.vector; v++) {
      const [got, wanted] = [values[t * format.vector + v], table[s * format.vector + v]];
      if (got !== wanted) problems.push(`step ${t} means ${got}, its state ${s} ${wanted}`);
    }
  }
  return check("steps mean their states", problems, codes.length - needed);
}

function vectorsOfTile(
  format: VectorFormat & { family: "trellis" },
  codes: Uint32Array,
): Float32Array {
  const { rows, columns } = format.tile;
  const plain = unscaled(format);
  const scales = Float32Array.of(1);
  return vectorCodec(plain).decode({
    kind: "vector",
    shape: [rows, columns],
    format: plain,
    codes,
    scales,
  });
}

function packs(format: VectorFormat): Check {
  const { codeBits } = vectorUnit(format);
  const random = fixedRandom();
  const codes = Uint32Array.from({ length: 999 }, () => Math.floor(random() * 2 ** codeBits));
  const back = unpackCodes(packCodes(codes, 9, 111, codeBits), 9, 111, codeBits);
  const problems = codes.every((code, i) => code === back[i]) ? [] : ["codes change on the way"];
  return check("codes pack and unpack", problems, codes.length);
}

function expectations(format: VectorFormat): Check[] {
  const { expect } = format;
  if (!expect) return [];
  if (format.family === "lookup" || format.family === "binary_coding") {
    throw new LowbitError("SCHEMA", "belongs to formats whose table is fixed", {
      file: format.id,
      field: "expect",
    });
  }
  const problems: string[] = [];
  const vector = (code: number): number[] => {
    if (format.family !== "trellis") return [...vectorsOf(format, Uint32Array.of(code))];
    const table = stateValues(format);
    return [...table.subarray(code * format.vector, (code + 1) * format.vector)];
  };
  for (const [code, wanted] of expect.decode ?? []) {
    const found = vector(code);
    if (found.length !== wanted.length || found.some((x, j) => x !== Math.fround(wanted[j]))) {
      problems.push(`code ${code} means ${found}, expected ${wanted}`);
    }
  }
  if (expect.points !== undefined) {
    const points = distinctPoints(format);
    if (points !== expect.points) problems.push(`has ${points} points, expected ${expect.points}`);
  }
  const cases = (expect.decode ?? []).length + (expect.points === undefined ? 0 : 1);
  return [check("expected facts hold", problems, cases)];
}

/** Different vectors of a fixed table. */
function distinctPoints(format: VectorFormat & { family: "pair" | "grid" | "trellis" }): number {
  const size = format.family === "trellis"
    ? format.vector
    : format.family === "grid"
    ? pointSet(format).dimension
    : 2;
  const bits = format.family === "pair"
    ? 2 * format.bits
    : format.family === "grid"
    ? format.bits
    : 0;
  if (bits > 20) {
    throw new LowbitError("LIMIT", `${bits} bits are too many to count points`, {
      file: format.id,
      field: "expect.points",
    });
  }
  const values = format.family === "trellis"
    ? stateValues(format)
    : vectorsOf(format, Uint32Array.from({ length: 2 ** bits }, (_, code) => code));
  const seen = new Set<string>();
  for (let i = 0; i < values.length; i += size) seen.add(values.subarray(i, i + size).join());
  return seen.size;
}
