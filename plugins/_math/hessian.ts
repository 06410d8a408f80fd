/**
 * Hessians of the layer-wise output error, `H = X^T X / tokens`, and their damped inverse factors.
 *
 * @module
 */

import type { Buffer, Kernels } from "../../spec/mod.ts";

/** A Hessian that can be factored, and the dead inputs in it. */
export interface PreparedHessian {
  /** `[n, n]`; the diagonal of dead inputs is 1. */
  hessian: Float64Array;
  /** Inputs that were zero in all of the calibration. */
  dead: number[];
}

/** Divides a Gram matrix by its number of rows, and gives dead inputs a diagonal of 1. */
export function prepareHessian(gram: Float64Array, n: number, tokens: number): PreparedHessian {
  const hessian = new Float64Array(gram.length), rows = Math.max(1, tokens);
  for (let i = 0; i < gram.length; i++) hessian[i] = gram[i] / rows;
  const dead: number[] = [];
  for (let j = 0; j < n; j++) {
    if (hessian[j * n + j] !== 0) continue;
    hessian[j * n + j] = 1;
    dead.push(j);
  }
  return { hessian, dead };
}

/**
 * Writes the upper triangular U with `(H + d mean(diag H) I)^-1 = U^T U` into `u` `[n, n]`. The
 * damping d grows tenfold, up to `escalations` times, while H is not positive definite; the damping
 * that worked is returned, or undefined.
 */
export function dampedInverseFactor(
  kernels: Kernels,
  hessian: Float64Array,
  n: number,
  options: { damping: number; escalations: number },
  u: Buffer<"f32">,
): number | undefined {
  let mean = 0;
  for (let j = 0; j < n; j++) mean += hessian[j * n + j] / n;
  if (!Number.isFinite(mean)) return undefined;
  let damping = options.damping;
  for (let attempt = 0; attempt <= options.escalations; attempt++) {
    using h = kernels.upload(hessian);
    const values = h.array;
    for (let j = 0; j < n; j++) values[j * n + j] += damping * mean;
    if (kernels.inverseCholesky({ h, n, u })) return damping;
    damping = damping === 0 ? 1e-5 : damping * 10;
  }
  return undefined;
}
