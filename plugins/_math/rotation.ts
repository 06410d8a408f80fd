/**
 * Random rotations, and what goes with them.
 *
 * @module
 */

import { type Kernels, largestHadamard, type Rng, type Rotation } from "../../spec/mod.ts";

/**
 * A random rotation of some channels: a Kronecker product of two orthogonal matrices, as square as
 * can be, over a random order of the channels, or a Hadamard matrix with random signs, in runs where
 * there is none of the whole size. Entries of matrices are f32, as they are stored.
 */
export function randomRotation(
  kernels: Kernels,
  rng: Rng,
  channels: number,
  kind: "kronecker" | "hadamard",
): Rotation {
  if (kind === "hadamard") {
    const size = largestHadamard(channels);
    const signs = Int8Array.from({ length: size }, () => rng.uint32() % 2 === 0 ? 1 : -1);
    return { kind: "hadamard", size, signs };
  }
  let p = Math.floor(Math.sqrt(channels));
  while (channels % p !== 0) p--;
  const outer = randomOrthogonal(kernels, rng, p);
  const inner = randomOrthogonal(kernels, rng, channels / p);
  const order = Uint32Array.from({ length: channels }, (_, i) => i);
  for (let i = channels - 1; i > 0; i--) {
    const j = Math.floor(rng.uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return { kind: "kronecker", size: channels, outer, inner, order };
}

/** Q of the QR decomposition of a normal matrix. */
function randomOrthogonal(kernels: Kernels, rng: Rng, n: number): Float64Array {
  using a = kernels.upload(Float64Array.from({ length: n * n }, () => rng.normal()));
  using r = kernels.alloc("f64", n * n);
  kernels.qr({ a, rows: n, columns: n, r });
  return Float64Array.from(Float32Array.from(a.array));
}

/** A matrix of `columns` columns, transposed. */
export function transpose(values: Float64Array, columns: number): Float64Array {
  const rows = values.length / columns;
  const result = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) result[c * rows + r] = values[r * columns + c];
  }
  return result;
}
