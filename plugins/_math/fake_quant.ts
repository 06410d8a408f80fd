/**
 * Uniform integer schemes inside differentiated functions, and the real tensors that they stand for.
 *
 * @module
 */

import type {
  Codec,
  DiffTensor,
  Kernels,
  Operand,
  QuantizedTensor,
  ResolvedScheme,
  Tiling,
} from "../../spec/mod.ts";

/** Scales below this count as this. */
const SMALLEST = 1e-12;

/** What plugins that use this module write in their manifest. */
export const UNIFORM: {
  families: "int"[];
  granularities: ("channel" | "group" | "token")[];
  zeroPoints: "int"[];
} = { families: ["int"], granularities: ["channel", "group"], zeroPoints: ["int"] };

/** Whether scales come straight from extremes, so that a range can be learned. */
export function isUniform({ element, scale, zero_point, granularity }: ResolvedScheme): boolean {
  return element.family === "int" && (scale.rule === "absmax" || scale.rule === "minmax") &&
    scale.second === undefined && (zero_point === undefined || zero_point.kind === "int") &&
    (granularity.kind === "channel" || granularity.kind === "group" ||
      granularity.kind === "token");
}

/** What is learned about the grid of a weight or an input; shapes broadcast to `[rows, tiles, 1]`. */
export interface LearnedGrid {
  /** Multiplies the smallest value of each tile. */
  low?: Operand;
  /** Multiplies the largest value of each tile. */
  high?: Operand;
  /** Added to the scaled values before they are rounded, `[rows, tiles, tileColumns]`. */
  offset?: DiffTensor;
  /** Extremes of the tiles, if they are known: `[rows, tiles, 1]`. */
  extremes?: { min: DiffTensor; max: DiffTensor };
}

/**
 * `x` `[..., columns]`, its last axis cut into tiles, quantised and dequantised:
 * `s (clamp(round(x / s + v) + z) - z)`. Gradients go straight through the rounding, and stop where
 * the clamp does.
 */
export function fakeQuantize(
  x: DiffTensor,
  codec: Codec,
  { tileColumns, gridColumns }: Tiling,
  grid: LearnedGrid = {},
): DiffTensor {
  const shape = x.shape, columns = shape.at(-1)!;
  const tiles = x.padTo(gridColumns * tileColumns)
    .reshape([...shape.slice(0, -1), gridColumns, tileColumns]);
  const { scale, zero } = gridOf(tiles, codec, grid);
  const [least, most] = codeRange(codec);
  const scaled = tiles.div(scale);
  const rounded = (grid.offset ? scaled.add(grid.offset) : scaled).round();
  const shifted = zero ? rounded.add(zero) : rounded;
  const codes = shifted.maximum(least).minimum(most);
  return (zero ? codes.sub(zero) : codes).mul(scale)
    .reshape([...shape.slice(0, -1), gridColumns * tileColumns])
    .slice(shape.length - 1, 0, columns);
}

function gridOf(tiles: DiffTensor, codec: Codec, { low = 1, high = 1, extremes }: LearnedGrid) {
  const { scheme } = codec;
  const { min, max } = extremes ?? { min: tiles.min(), max: tiles.max() };
  const least = min.minimum(0).mul(low), most = max.maximum(0).mul(high);
  if (!scheme.zero_point) {
    const divisor = scheme.scale.divisor ?? codeRange(codec)[1];
    return { scale: most.maximum(least.mul(-1)).div(divisor).maximum(SMALLEST) };
  }
  const levels = 2 ** scheme.element.bits - 1;
  const scale = most.sub(least).div(levels).maximum(SMALLEST);
  const zero = least.div(scale).mul(-1).round().maximum(0).minimum(levels);
  return { scale, zero };
}

/** The smallest and the largest code, as a number. */
function codeRange({ encoder, table }: Codec): [number, number] {
  return encoder.kind === "int" ? [encoder.min, encoder.max] : [table[0], table[table.length - 1]];
}

/** The real tensor for a learned grid, by the codec: its scales as stored, its codes, its rounding. */
export function quantizeLearned(
  kernels: Kernels,
  codec: Codec,
  weight: Readonly<Float32Array>,
  rows: number,
  learned: { low?: Float32Array; high?: Float32Array; offset?: Float32Array } = {},
): QuantizedTensor {
  const columns = weight.length / rows;
  const tiling = codec.tiling(rows, columns);
  const { gridColumns, tileColumns } = tiling;
  const { low, high, offset } = learned;
  using x = kernels.upload(weight as Float32Array);
  const ranges = codec.ranges(x, tiling);
  const parameters = codec.fit({
    ...ranges,
    min: low ? ranges.min.map((value, i) => value * low[i]) : ranges.min,
    max: high ? ranges.max.map((value, i) => value * high[i]) : ranges.max,
  });
  if (offset) {
    const values = x.array;
    for (let row = 0, i = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, i++) {
        const tile = row * gridColumns + Math.floor(column / tileColumns);
        // Padded to whole tiles, as inside the function.
        const at = tile * tileColumns + column % tileColumns;
        values[i] += offset[at] * parameters.scales[tile];
      }
    }
  }
  using codes = codec.encode(x, tiling, parameters);
  return { shape: [rows, columns], scheme: codec.scheme, codes: codes.array.slice(), parameters };
}
