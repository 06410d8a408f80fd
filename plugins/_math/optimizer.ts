/**
 * Optimisers over plain arrays: small rules, each step in f64 and rounded to f32, so that they give
 * the same bits everywhere.
 *
 * @module
 */

/** Changes values by a gradient, in place; `share` multiplies the learning rate. */
export type Optimizer = (
  values: Float32Array,
  gradient: Readonly<Float32Array>,
  share: number,
) => void;

/** Options of {@linkcode adam}. */
export interface AdamOptions {
  /** Decay of the mean. */
  beta1?: number;
  /** Decay of the mean square. */
  beta2?: number;
  /** Added to the root of the mean square. */
  epsilon?: number;
  /** The share by which values shrink at a rate of 1 (AdamW). */
  decay?: number;
}

/**
 * Adam (Kingma and Ba 2014, algorithm 1): `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
 * `x -= rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)`; with a decay AdamW (Loshchilov and
 * Hutter 2017, algorithm 2), which takes `rate decay x` as well. Made for one array of values.
 */
export function adam(rate: number, options: AdamOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0 } = options;
  let mean: Float32Array | undefined, square: Float32Array;
  // beta^t by repeated multiplication: the host's power function is not the same everywhere.
  let [power1, power2] = [1, 1];
  return (values, gradient, share) => {
    mean ??= new Float32Array(values.length);
    square ??= new Float32Array(values.length);
    power1 *= beta1;
    power2 *= beta2;
    for (let i = 0; i < values.length; i++) {
      const g = gradient[i];
      mean[i] = beta1 * mean[i] + (1 - beta1) * g;
      square[i] = beta2 * square[i] + (1 - beta2) * g * g;
      const step = mean[i] / (1 - power1) / (Math.sqrt(square[i] / (1 - power2)) + epsilon);
      values[i] -= rate * share * (step + decay * values[i]);
    }
  };
}

/** `x -= rate sign(g)`, kept in a range. */
export function signDescent(rate: number, [least, most]: readonly [number, number]): Optimizer {
  return (values, gradient, share) => {
    for (let i = 0; i < values.length; i++) {
      const moved = values[i] - rate * share * Math.sign(gradient[i]);
      values[i] = Math.min(most, Math.max(least, moved));
    }
  };
}
