/**
 * Products with packed weights on a GPU, by WebGPU; every other operation stays where it was.
 *
 * A weight of `packedWeight` (any table of 1 to 8 bits, any tiling) is kept packed on the GPU, and
 * `linear` with it is computed there. The values of the weight are `(table[code] - zero) * scale`,
 * as everywhere, but a GPU may fuse and reorder what it adds: the result is within
 * `(columns + 4) * 2^-23` of the exact sum, relative to the sum of magnitudes, and differs between
 * machines. So these kernels run models; they are not for deciding stored bytes.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import type { Kernels, LinearArguments } from "../spec/kernels.ts";
import type { LinearWeight, PackedWeightArguments } from "../spec/kernel_weights.ts";
import { Device } from "./device.ts";
import { GEMM_TILE, GEMV_TOKENS, MAX_GROUPS } from "./shaders.ts";

/** Up to so many tokens a row is one workgroup; more share the unpacked weights. */
const MAX_GEMV_TOKENS = 8;

/**
 * The kernels with products of packed weights on the GPU. `UNSUPPORTED` where there is no adapter,
 * or where this thread may not wait. Closing them closes `base` too.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { loadKernels } from "../kernels-wasm/mod.ts";
 * import { LowbitError } from "../spec/errors.ts";
 * import { tiling } from "../spec/granularity.ts";
 * import { webgpuKernels } from "./mod.ts";
 *
 * try {
 *   const kernels = await webgpuKernels(await loadKernels());
 *   using weight = kernels.packedWeight({
 *     tiling: tiling({ kind: "channel" }, 1, 2),
 *     bits: 4,
 *     bytes: Uint8Array.of(0x21), // codes 1 and 2
 *     table: Float32Array.from({ length: 16 }, (_, code) => code),
 *     scales: Float32Array.of(0.5),
 *   });
 *   using x = kernels.upload(Float32Array.of(10, 100));
 *   using y = kernels.alloc("f32", 1);
 *   kernels.linear({ x, y, tokens: 1, weight });
 *   assert(y.array[0] === 105);
 *   kernels.close();
 * } catch (error) {
 *   assert(error instanceof LowbitError && error.code === "UNSUPPORTED"); // no GPU here
 * }
 * ```
 */
export async function webgpuKernels(base: Kernels): Promise<Kernels> {
  const device = await Device.open();
  const own: Pick<Kernels, "name" | "packedWeight" | "linear" | "close"> = {
    name: `${base.name} and WebGPU`,
    packedWeight(args) {
      // the checks are those of the kernels below
      base.packedWeight(args).free();
      return new GpuWeight(device, args);
    },
    linear(args) {
      if (args.weight instanceof GpuWeight) args.weight.multiply(args);
      else base.linear(args);
    },
    close() {
      device.close();
      base.close();
    },
  };
  return new Proxy(base, {
    get(target, key) {
      if (Object.hasOwn(own, key)) return own[key as keyof typeof own];
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** A weight in the memory of the GPU. */
class GpuWeight implements LinearWeight {
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
  readonly #device: Device;
  readonly #id: number;
  #free = false;

  constructor(device: Device, args: PackedWeightArguments) {
    const { tiling, bits, table, scales } = args;
    const { rows, columns, tileRows, tileColumns, gridColumns } = tiling;
    const codes = wordRows(args);
    const shifts = args.zeros ?? args.minimums ?? new Float32Array(1);
    const words = Math.ceil(columns * bits / 32);
    const kind = args.zeros ? 1 : args.minimums ? 2 : 0;
    const shape = Uint32Array.of(
      ...[rows, columns, 0, words],
      ...[tileRows, tileColumns, gridColumns, kind],
    );
    this.rows = rows;
    this.columns = columns;
    this.bytes = codes.byteLength + table.byteLength + scales.byteLength + shifts.byteLength;
    this.#device = device;
    this.#id = device.nextId();
    const arrays = [shape, codes, table, scales, shifts];
    device.ask({ kind: "weight", id: this.#id, bits }, arrays);
  }

  /** `y = x W^T`. */
  multiply({ x, y, tokens }: LinearArguments): void {
    const { rows, columns } = this;
    if (this.#free) refuse("weight", "is used after it was freed");
    if (x.length !== tokens * columns) refuse("x", `must have ${tokens * columns} elements`);
    if (y.length !== tokens * rows) refuse("y", `must have ${tokens * rows} elements`);
    if (y.length === 0) return;
    if (columns === 0) return void y.array.fill(0);
    const few = tokens <= MAX_GEMV_TOKENS;
    const groups: [number, number, number] = few
      ? [
        Math.min(rows, MAX_GROUPS),
        Math.ceil(rows / MAX_GROUPS),
        Math.ceil(tokens / GEMV_TOKENS),
      ]
      : [Math.ceil(rows / GEMM_TILE), Math.ceil(tokens / GEMM_TILE), 1];
    const shader = few ? "gemv" : "gemm";
    const message = { kind: "product", id: this.#id, tokens, shader, groups } as const;
    y.array.set(this.#device.ask(message, [x.array], y.length));
  }

  free(): void {
    if (!this.#free) this.#device.free(this.#id);
    this.#free = true;
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

function refuse(field: string, problem: string): never {
  throw new LowbitError("SHAPE", `${field} ${problem}`, { field });
}

/** Rows of codes in whole 32-bit words. */
function wordRows({ bytes, bits, tiling: { rows, columns } }: PackedWeightArguments): Uint32Array {
  const from = Math.ceil(columns * bits / 8), to = 4 * Math.ceil(columns * bits / 32);
  const out = new Uint8Array(rows * to);
  for (let row = 0; row < rows; row++) {
    out.set(bytes.subarray(row * from, (row + 1) * from), row * to);
  }
  return new Uint32Array(out.buffer);
}
