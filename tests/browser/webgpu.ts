/**
 * Products on a GPU beside those of the reference, in a page's worker or in Deno.
 *
 * @module
 */

import { Random } from "../../kernels-wasm/_random.ts";
import { loadKernels } from "../../kernels-wasm/mod.ts";
import { webgpuKernels } from "../../kernels-webgpu/mod.ts";
import { streamBytes } from "../../spec/mod.ts";

/** A product: its shape, and its largest error relative to the bound of `webgpuKernels`. */
export interface Compared {
  tokens: number;
  rows: number;
  columns: number;
  bits: number;
  error: number;
}

/** Random products of all widths and of shapes that end inside words, tiles and workgroups. */
export async function compareProducts(cases: number): Promise<Compared[]> {
  const gpu = await webgpuKernels(await loadKernels());
  const compared: Compared[] = [];
  for (let seed = 0; seed < cases; seed++) {
    const random = new Random(seed);
    const bits = 1 + seed % 8;
    const tokens = random.of([1, 1, 2, 5, 8, 9, 17, 40]);
    const rows = random.int(1, 70), columns = random.int(1, 400);
    const tiling = random.tiling(rows, columns);
    const tiles = tiling.gridRows * tiling.gridColumns;
    const table = random.floats(1 << bits);
    const scales = random.scales(tiles);
    const kind = random.int(0, 2);
    const zeros = kind === 1 ? random.floats(tiles) : undefined;
    const minimums = kind === 2 ? random.floats(tiles) : undefined;
    const bytes = random.codes(rows * streamBytes(columns, bits), 256);
    using weight = gpu.packedWeight({ tiling, bits, bytes, table, scales, zeros, minimums });
    const inputs = random.floats(tokens * columns);
    using x = gpu.upload(inputs);
    using y = gpu.alloc("f32", tokens * rows);
    gpu.linear({ x, y, tokens, weight });
    let error = 0;
    for (let r = 0; r < rows; r++) {
      const values = Float32Array.from({ length: columns }, (_, c) => {
        const bit = c * bits, at = r * streamBytes(columns, bits) + (bit >> 3);
        const code = ((bytes[at] | (bytes[at + 1] ?? 0) << 8) >> (bit & 7)) & ((1 << bits) - 1);
        const tile = Math.floor(r / tiling.tileRows) * tiling.gridColumns +
          Math.floor(c / tiling.tileColumns);
        return (table[code] - (zeros?.[tile] ?? 0)) * scales[tile] + (minimums?.[tile] ?? 0);
      });
      for (let t = 0; t < tokens; t++) {
        let sum = 0, size = 0;
        for (let c = 0; c < columns; c++) {
          const product = values[c] * inputs[t * columns + c];
          sum += product;
          size += Math.abs(product);
        }
        const bound = (columns + 4) * 2 ** -23 * size + 1e-30;
        error = Math.max(error, Math.abs(y.array[t * rows + r] - sum) / bound);
      }
    }
    compared.push({ tokens, rows, columns, bits, error });
  }
  gpu.close();
  return compared;
}
