/**
 * Work on the kernels alone, large enough to be split among threads, as a digest. Written without
 * `using`, as the kernels themselves are, so that Node 20 runs the bundle as it is.
 *
 * @module
 */

import { loadKernels } from "../../kernels-wasm/mod.ts";
import type { Kernels } from "../../spec/kernels.ts";

const [ROWS, COLUMNS, TOKENS] = [192, 256, 40];

/** Numbers that look random, the same each time. */
export function numbers(length: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length }, () => {
    state = Math.imul(state, 1664525) + 1013904223 | 0;
    return state / 2 ** 31;
  });
}

/** The bytes of a product, a Gram matrix and a cast. */
export function operations(kernels: Kernels): Uint8Array[] {
  const x = kernels.upload(numbers(TOKENS * COLUMNS));
  const y = kernels.alloc("f32", TOKENS * ROWS);
  const weight = kernels.denseWeight(numbers(ROWS * COLUMNS), ROWS, COLUMNS);
  kernels.linear({ x, y, tokens: TOKENS, weight });
  const gram = kernels.alloc("f64", COLUMNS * COLUMNS);
  kernels.gram({ x, rows: TOKENS, columns: COLUMNS, gram });
  const bytes = kernels.alloc("u8", 2 * TOKENS * ROWS);
  kernels.narrow({ x: y, bytes, to: "bfloat16" });
  const results = [y, gram, bytes].map(({ array }) =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).slice()
  );
  for (const item of [x, y, weight, gram, bytes]) item.free();
  return results;
}

/** The SHA-256 of everything, hexadecimal. */
export async function digest(parts: readonly Uint8Array[]): Promise<string> {
  const bytes = await new Blob(parts.map((part) => part.slice())).arrayBuffer();
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The digest of the kernels' work, and how many threads they had. */
export async function kernelDigest(threads: number): Promise<{ threads: number; kernels: string }> {
  const kernels = await loadKernels({ threads });
  const result = { threads: kernels.threads, kernels: await digest(operations(kernels)) };
  kernels.close();
  return result;
}
