/**
 * Codecs of vector formats: scales around the coder of a family, and side tensors on top.
 *
 * @module
 */

import {
  allFinite,
  checkVector,
  LowbitError,
  type Tiling,
  type VectorCodec,
  type VectorEncodeOptions,
  type VectorFormat,
  type VectorScale,
  type VectorShape,
  vectorShape,
  type VectorTensor,
} from "../../spec/mod.ts";
import { forEachElement } from "../reference.ts";
import { addSide } from "../side.ts";
import { BinaryCoder } from "./binary_coding.ts";
import type { Encoded, VectorCoder } from "./coder.ts";
import { roundEntries } from "./entries.ts";
import { GridCoder } from "./grid.ts";
import { PairCoder } from "./pair.ts";
import { TableCoder } from "./tables.ts";
import { TrellisCoder } from "./trellis.ts";

/**
 * The codec of a vector format whose number formats are looked up.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { vectorCodec } from "./codec.ts";
 * const codec = vectorCodec(vectorFormat("e8p"));
 * const weight = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
 * const tensor = codec.encode(weight, 4, 16);
 * assertEquals([tensor.codes.length, tensor.scales!.length], [8, 4]);
 * assertEquals(codec.decode(tensor).length, 64);
 * ```
 */
export function vectorCodec(format: VectorFormat): VectorCodec {
  const coder = coderOf(format);
  const scale = "scale" in format ? format.scale : undefined;
  return {
    format,
    shape: (rows, columns) => vectorShape(format, rows, columns),
    encode(x, rows, columns, options = {}) {
      const shape = vectorShape(format, rows, columns);
      if (x.length !== rows * columns) {
        const problem = `has ${x.length} elements, but ${rows} x ${columns} are expected`;
        throw new LowbitError("SHAPE", problem, { field: format.id });
      }
      if (!allFinite(x)) {
        const problem = "cannot quantise a NaN or an infinity";
        throw new LowbitError("NON_FINITE", problem, { field: format.id });
      }
      const parts = scale
        ? encodeScaled(coder, scale, x, shape, options)
        : coder.encode(x.slice(), shape, options);
      const tensor: VectorTensor = { kind: "vector", shape: [rows, columns], format, ...parts };
      checkVector(tensor);
      return tensor;
    },
    decode(tensor) {
      const shape = checkVector(tensor);
      const values = coder.decode(tensor, shape);
      const { scales } = tensor;
      if (scales) forEachElement(shape.scales!, (i, tile) => values[i] *= scales[tile]);
      for (const side of tensor.side ?? []) addSide(values, shape.columns, side);
      return values;
    },
  };
}

function coderOf(format: VectorFormat): VectorCoder {
  switch (format.family) {
    case "pair":
      return new PairCoder(format);
    case "grid":
      return new GridCoder(format);
    case "lookup":
      return new TableCoder(format);
    case "trellis":
      return new TrellisCoder(format);
    case "binary_coding":
      return new BinaryCoder(format);
  }
}

/** Codes with the best of the scales that the format names, tile by tile. */
function encodeScaled(
  coder: VectorCoder,
  scale: VectorScale,
  x: Readonly<Float32Array>,
  shape: VectorShape,
  options: VectorEncodeOptions,
): Encoded & Pick<VectorTensor, "scales"> {
  if (options.scales) {
    const { scales, encoded } = withScales(coder, options.scales, x, shape, options);
    return { ...encoded, scales };
  }
  const statistics = tileStatistics(x, shape.scales!, scale.statistic);
  let best: Attempt | undefined;
  for (const factor of scale.factors) {
    // Values that are all zero get the scale 1.
    const scales = roundEntries(scale.format, statistics.map((value) => value * factor))
      .map((value) => value > 0 && Number.isFinite(value) ? value : 1);
    const attempt = withScales(coder, scales, x, shape, options);
    if (best) takeBetter(best, attempt, shape);
    else best = attempt;
  }
  const { scales, encoded } = best!;
  return { ...encoded, scales };
}

interface Attempt {
  scales: Float32Array;
  encoded: Encoded;
  errors: Float64Array;
}

function withScales(
  coder: VectorCoder,
  scales: Float32Array,
  x: Readonly<Float32Array>,
  shape: VectorShape,
  options: VectorEncodeOptions,
): Attempt {
  const tiles = shape.scales!;
  const scaled = new Float32Array(x.length);
  forEachElement(tiles, (i, tile) => scaled[i] = x[i] / scales[tile]);
  const encoded = coder.encode(scaled, shape, options);
  const errors = new Float64Array(scales.length);
  const back = coder.decode(encoded, shape);
  forEachElement(tiles, (i, tile) => errors[tile] += (x[i] - back[i] * scales[tile]) ** 2);
  return { scales, encoded, errors };
}

/** Replaces the tiles of `best` that another attempt holds better. */
function takeBetter(best: Attempt, other: Attempt, shape: VectorShape): void {
  const { gridColumns, tileRows, tileColumns } = shape.scales!;
  const { unitRows, unitColumns, unitCodes, codeRows, codeColumns } = shape;
  const better = other.errors.map((error, tile) => Number(error < best.errors[tile]));
  for (let r = 0; r < codeRows; r++) {
    const first = Math.floor(r * unitRows / tileRows) * gridColumns;
    for (let c = 0; c < codeColumns; c++) {
      const column = Math.floor(c / unitCodes) * unitColumns;
      if (!better[first + Math.floor(column / tileColumns)]) continue;
      const i = r * codeColumns + c;
      best.encoded.codes[i] = other.encoded.codes[i];
    }
  }
  better.forEach((yes, tile) => {
    if (!yes) return;
    best.scales[tile] = other.scales[tile];
    best.errors[tile] = other.errors[tile];
  });
}

/** The largest magnitude or the root mean square of every tile. */
function tileStatistics(
  x: Readonly<Float32Array>,
  tiles: Tiling,
  statistic: VectorScale["statistic"],
): Float64Array {
  const sums = new Float64Array(tiles.gridRows * tiles.gridColumns);
  if (statistic === "absmax") {
    forEachElement(tiles, (i, tile) => sums[tile] = Math.max(sums[tile], Math.abs(x[i])));
    return sums;
  }
  const counts = new Float64Array(sums.length);
  forEachElement(tiles, (i, tile) => {
    sums[tile] += x[i] * x[i];
    counts[tile]++;
  });
  return sums.map((sum, tile) => Math.sqrt(sum / counts[tile]));
}
