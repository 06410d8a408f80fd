/**
 * Checking anyone's scheme: that the kernels, the reference and what is stored agree.
 *
 * @module
 */

import type { Codecs, ResolvedScheme, Tiling } from "../spec/mod.ts";
import { type Check, matrixCheck } from "./check_format.ts";
import { parameterParts, parametersFrom, partValues, storedBits } from "./parameter_parts.ts";
import { decodeMatrix, encodeMatrix } from "./reference.ts";

/** The sizes of matrices that are tried; those that the scheme refuses are left out. */
const SIZES: [rows: number, columns: number][] = [[1, 256], [3, 512], [5, 320], [2, 257], [
  128,
  384,
]];

/**
 * Checks a scheme on matrices with zero rows, an outlier, a constant and subnormal numbers: the
 * kernels give the codes and values of the reference, every number is finite, zeros stay zero, and
 * what is stored reads back as the parameters that were used.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { checkScheme } from "./check_scheme.ts";
 * import { createCodecs } from "./codec.ts";
 * import { resolveScheme } from "./lookup.ts";
 * const checks = checkScheme(createCodecs(referenceKernels()), resolveScheme("nvfp4_torchao"));
 * assert(checks.every(({ ok }) => ok));
 * ```
 */
export function checkScheme(codecs: Codecs, scheme: ResolvedScheme): Check[] {
  const codec = codecs.get(scheme);
  const found = { kernels: [] as string[], finite: [] as string[], stored: [] as string[] };
  let [cases, bits] = [0, 0];
  for (const [rows, columns] of SIZES) {
    let tiling: Tiling;
    try {
      tiling = codec.tiling(rows, columns);
    } catch {
      continue; // the scheme refuses short tails
    }
    const x = hardMatrix(rows, columns);
    const tensor = codec.quantize(x, rows, columns);
    const { codes, parameters } = tensor;
    const values = codec.dequantize(tensor);
    const where = `${rows} x ${columns}`;
    cases++;
    if (bits === 0) bits = storedBits(scheme, tiling) / (rows * columns);
    const same = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      a.length === b.length && Array.from(a).every((v, i) => Object.is(v, b[i]));
    if (!same(codes, encodeMatrix(scheme, x, tiling, parameters))) {
      found.kernels.push(`${where}: codes differ`);
    }
    if (!same(values, decodeMatrix(scheme, codes, tiling, parameters))) {
      found.kernels.push(`${where}: values differ`);
    }
    const bad = values.findIndex((v) => !Number.isFinite(v));
    if (bad >= 0) found.finite.push(`${where}: element ${bad} became ${values[bad]}`);
    const parts = parameterParts(scheme, tiling);
    const read = parametersFrom(
      scheme,
      tiling,
      new Map(parts.map((part) => [part.name, partValues(parameters, part)!])),
    );
    if (scheme.scale.rule !== "none" && !same(read.scales, parameters.scales)) {
      found.stored.push(`${where}: scales read back differ`);
    }
    if (parameters.zeros && !same(read.zeros!, parameters.zeros)) {
      found.stored.push(`${where}: zero points read back differ`);
    }
  }
  return [
    matrixCheck("kernels equal the reference", found.kernels, cases),
    matrixCheck("every value is finite", found.finite, cases),
    matrixCheck("what is stored reads back", found.stored, cases),
    { name: "bits a weight", ok: true, detail: bits.toFixed(4) },
  ];
}

/** Numbers from a fixed sequence, with what is hard for scales among them. */
function hardMatrix(rows: number, columns: number): Float32Array {
  const x = Float32Array.from({ length: rows * columns }, (_, i) => {
    const u = (Math.imul(i + 1, 0x9e3779b1) >>> 0) / 2 ** 32 - 0.5;
    return u * 2 ** (i % 7 - 3);
  });
  x.fill(0, 0, Math.floor(columns / 2));
  if (rows > 2) {
    x.fill(0.25, columns, columns + Math.floor(columns / 2));
    x[2 * columns] = 1e-41;
    x[2 * columns + 1] = 1000;
  }
  return x;
}
