/**
 * Comparing formats on the weights of a model: error against bits, scales counted.
 *
 * @module
 */

import { type Codecs, type ResolvedScheme, tiling } from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { parameterTensor } from "../models/weights.ts";
import { storedBits } from "../formats/parameter_parts.ts";

/** How well one scheme holds the weights of a model. */
export interface FormatScore {
  /** The scheme. */
  scheme: string;
  /** Bits a weight: codes, scales and zero points. */
  bits_per_weight: number;
  /** Signal to quantisation noise over all weights, dB. */
  sqnr_db: number;
  /** Mean squared error over the mean square of the weights. */
  relative_error: number;
}

/**
 * Rounds every linear of the blocks to every scheme; the best signal-to-noise ratio comes first. One
 * weight is in memory at a time.
 */
export async function compareFormats(args: {
  model: ModelGraph;
  schemes: readonly ResolvedScheme[];
  codecs: Codecs;
  progress?: (done: number, total: number) => void;
}): Promise<FormatScore[]> {
  const { model, schemes, codecs, progress } = args;
  const linears = model.linears.filter((linear) => linear.block !== undefined);
  const totals = schemes.map(() => ({ noise: 0, bits: 0 }));
  let [signal, elements] = [0, 0];
  for (const [done, { id, rows, columns }] of linears.entries()) {
    const weight = await parameterTensor(model, id).read();
    for (const value of weight) signal += value * value;
    elements += weight.length;
    schemes.forEach((scheme, i) => {
      const codec = codecs.get(scheme);
      const back = codec.dequantize(codec.quantize(weight, rows, columns));
      let noise = 0;
      for (let j = 0; j < weight.length; j++) noise += (weight[j] - back[j]) ** 2;
      totals[i].noise += noise;
      totals[i].bits += storedBits(scheme, tiling(scheme.granularity, rows, columns));
    });
    progress?.(done + 1, linears.length);
  }
  return schemes.map((scheme, i) => ({
    scheme: scheme.id,
    bits_per_weight: Number((totals[i].bits / elements).toFixed(4)),
    sqnr_db: Number((10 * Math.log10(signal / totals[i].noise)).toFixed(3)),
    relative_error: Number((totals[i].noise / signal).toPrecision(5)),
  })).sort((a, b) => b.sqnr_db - a.sqnr_db);
}
