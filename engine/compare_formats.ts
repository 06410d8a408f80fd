/**
 * Comparing formats on the weights of a model: error against bits, scales counted.
 *
 * @module
 */

import { type Codecs, type ResolvedScheme, tiling, type VectorFormat } from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { parameterTensor } from "../models/weights.ts";
import { storedBits } from "../formats/parameter_parts.ts";
import { vectorBits } from "../formats/vectors/facts.ts";

/** How well one scheme holds the weights of a model. */
export interface FormatScore {
  /** The scheme or vector format. */
  scheme: string;
  /** Bits a weight: codes, scales, zero points and tables. */
  bits_per_weight: number;
  /** Signal to quantisation noise over all weights, dB. */
  sqnr_db: number;
  /** The same at equal bits: less 20 log10(2) dB, what a bit is worth, for each bit above the least. */
  equal_bits_db: number;
  /** Mean squared error over the mean square of the weights. */
  relative_error: number;
}

/** A scheme or vector format that is tried. */
interface Candidate {
  id: string;
  /** The weight as it comes back. */
  restore(weight: Float32Array, rows: number, columns: number): Float32Array;
  /** Bits of a matrix. */
  bits(rows: number, columns: number): number;
}

function ofScheme(codecs: Codecs, scheme: ResolvedScheme): Candidate {
  const codec = codecs.get(scheme);
  return {
    id: scheme.id,
    restore: (weight, rows, columns) => codec.dequantize(codec.quantize(weight, rows, columns)),
    bits: (rows, columns) => storedBits(scheme, tiling(scheme.granularity, rows, columns)),
  };
}

function ofVector(codecs: Codecs, format: VectorFormat): Candidate {
  const codec = codecs.vector(format);
  return {
    id: format.id,
    restore: (weight, rows, columns) => codec.decode(codec.encode(weight, rows, columns)),
    bits: (rows, columns) => vectorBits(format, rows, columns),
  };
}

/**
 * Rounds every linear of the blocks to every scheme and vector format. What has the best
 * signal-to-noise ratio at equal bits comes first, scales and tables counted. One weight is in memory
 * at a time.
 */
export async function compareFormats(args: {
  model: ModelGraph;
  schemes: readonly ResolvedScheme[];
  vectors?: readonly VectorFormat[];
  codecs: Codecs;
  progress?: (done: number, total: number) => void;
}): Promise<FormatScore[]> {
  const { model, schemes, vectors = [], codecs, progress } = args;
  const candidates = [
    ...schemes.map((scheme) => ofScheme(codecs, scheme)),
    ...vectors.map((format) => ofVector(codecs, format)),
  ];
  const linears = model.linears.filter((linear) => linear.block !== undefined);
  const totals = candidates.map(() => ({ noise: 0, bits: 0 }));
  let [signal, elements] = [0, 0];
  for (const [done, { id, rows, columns }] of linears.entries()) {
    const weight = await parameterTensor(model, id).read();
    for (const value of weight) signal += value * value;
    elements += weight.length;
    candidates.forEach((candidate, i) => {
      const back = candidate.restore(weight, rows, columns);
      let noise = 0;
      for (let j = 0; j < weight.length; j++) noise += (weight[j] - back[j]) ** 2;
      totals[i].noise += noise;
      totals[i].bits += candidate.bits(rows, columns);
    });
    progress?.(done + 1, linears.length);
  }
  const least = Math.min(...totals.map(({ bits }) => bits)) / elements;
  return candidates.map(({ id }, i) => {
    const bits = totals[i].bits / elements;
    const sqnr = 10 * Math.log10(signal / totals[i].noise);
    return {
      scheme: id,
      bits_per_weight: Number(bits.toFixed(4)),
      sqnr_db: Number(sqnr.toFixed(3)),
      equal_bits_db: Number((sqnr - 20 * Math.log10(2) * (bits - least)).toFixed(3)),
      relative_error: Number((totals[i].noise / signal).toPrecision(5)),
    };
  }).sort((a, b) => b.equal_bits_db - a.equal_bits_db);
}
