/**
 * What is stored of the parameters of a quantised matrix: the one list that writers, readers, checks
 * and the counting of bits walk.
 *
 * @module
 */

import type { GridParameters, ResolvedScheme, StoredScales, Tiling } from "../spec/mod.ts";
import { numberFormat } from "./lookup.ts";
import { readScales } from "./second_level.ts";

/** One array of parameters as it is stored. */
export interface ParameterPart {
  /** What it is: scales or zero points, or a field of `StoredScales` (`over`, `offset`, ...). */
  name: "scales" | "zeros" | Exclude<keyof StoredScales, "scales">;
  /** The number format of its values; `float32`, or an id of the catalog. */
  format: string;
  /** Its shape; `[gridRows, n]` where a row of tiles has its own. */
  shape: [rows: number, columns: number];
}

/**
 * The stored parameters of a matrix under a scheme.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tiling } from "../spec/mod.ts";
 * import { resolveScheme } from "./lookup.ts";
 * import { parameterParts } from "./parameter_parts.ts";
 * const scheme = resolveScheme("int4_g64_asym");
 * const parts = parameterParts(scheme, tiling(scheme.granularity, 8, 128));
 * assertEquals(parts.map(({ name, format, shape }) => [name, format, ...shape]), [
 *   ["scales", "float32", 8, 2],
 *   ["zeros", "uint4", 8, 2],
 * ]);
 * ```
 */
export function parameterParts(scheme: ResolvedScheme, tiling: Tiling): ParameterPart[] {
  const { scale: { rule, format, second }, zero_point, element } = scheme;
  const { gridRows, gridColumns, rows, columns } = tiling;
  const grid: [number, number] = [gridRows, gridColumns];
  const parts: ParameterPart[] = [];
  if (second?.kind === "outer") {
    parts.push({ name: "scales", format, shape: [rows, 1] });
    parts.push({ name: "over", format, shape: [1, columns] });
    return parts;
  }
  if (rule !== "none") parts.push({ name: "scales", format, shape: grid });
  switch (second?.kind) {
    case "super_block": {
      const whole = gridColumns % second.tiles === 0;
      const count = Math.ceil(gridRows * gridColumns / second.tiles);
      const shape: [number, number] = whole ? [gridRows, gridColumns / second.tiles] : [1, count];
      parts.push({ name: "over", format: second.format, shape });
      if (zero_point) {
        parts.push({ name: "minima", format, shape: grid });
        parts.push({ name: "overMinima", format: second.format, shape });
      }
      return parts;
    }
    case "double": {
      const runs = Math.ceil(gridRows * gridColumns / second.tiles);
      parts.push({ name: "over", format: "float32", shape: [1, runs] });
      parts.push({ name: "offset", format: "float32", shape: [1, 1] });
      return parts;
    }
    case "tensor":
      parts.push({ name: "over", format: "float32", shape: [1, 1] });
      return parts;
  }
  if (zero_point) {
    const zeros = zero_point.kind === "int" ? `uint${element.bits}` : format;
    parts.push({ name: "zeros", format: zeros, shape: grid });
  }
  return parts;
}

/** The values of a part. */
export function partValues(
  parameters: GridParameters,
  { name }: ParameterPart,
): Float32Array | undefined {
  if (name === "zeros") return parameters.zeros;
  if (parameters.second) return parameters.second[name];
  return name === "scales" ? parameters.scales : undefined;
}

/**
 * Parameters from the values of their parts; scales that are not stored are 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tiling } from "../spec/mod.ts";
 * import { resolveScheme } from "./lookup.ts";
 * import { parametersFrom } from "./parameter_parts.ts";
 * const scheme = resolveScheme("nf4_b64_dq"), tiles = tiling(scheme.granularity, 1, 128);
 * const parts = new Map([
 *   ["scales", Float32Array.of(-1, 0.5)],
 *   ["over", Float32Array.of(2)],
 *   ["offset", Float32Array.of(3)],
 * ]);
 * assertEquals([...parametersFrom(scheme, tiles, parts).scales], [1, 4]); // s * d + mean
 * ```
 */
export function parametersFrom(
  scheme: ResolvedScheme,
  tiling: Tiling,
  parts: ReadonlyMap<string, Float32Array>,
): GridParameters {
  const { second } = scheme.scale;
  const zeros = parts.get("zeros");
  if (second) {
    const stored = Object.fromEntries(
      [...parts].filter(([name]) => name !== "zeros"),
    ) as unknown as StoredScales;
    return { ...readScales(second, stored), second: stored };
  }
  const scales = parts.get("scales") ??
    new Float32Array(tiling.gridRows * tiling.gridColumns).fill(1);
  return { scales, ...(zeros && { zeros }) };
}

/**
 * Bits of codes and parameters of a matrix, without padding.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tiling } from "../spec/mod.ts";
 * import { resolveScheme } from "./lookup.ts";
 * import { storedBits } from "./parameter_parts.ts";
 * const scheme = resolveScheme("mxfp4");
 * assertEquals(storedBits(scheme, tiling(scheme.granularity, 1, 32)), 32 * 4 + 8);
 * ```
 */
export function storedBits(scheme: ResolvedScheme, tiling: Tiling): number {
  const parameters = parameterParts(scheme, tiling).map(({ format, shape: [rows, columns] }) =>
    rows * columns * (format === "float32" ? 32 : numberFormat(format).bits)
  );
  const codes = tiling.rows * tiling.columns * scheme.element.bits;
  return parameters.reduce((sum, bits) => sum + bits, codes);
}
