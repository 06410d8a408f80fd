/**
 * `lowbit doctor`: what this machine and this process can do.
 *
 * @module
 */

import { loadKernels } from "../kernels-wasm/mod.ts";
import { readEnergy } from "../compare/energy.ts";
import { VERSION } from "../engine/version.ts";
import type { Command } from "./arguments.ts";
import { writeLine } from "./progress.ts";
import { formatBytes, table } from "./table.ts";

/** Smallest modules that use a feature: the engine has it if it takes them. */
const PROBES: Record<string, number[]> = {
  // (func (result v128) i32.const 0 i8x16.splat)
  simd: [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11],
  // (func (result v128) i32.const 0 i8x16.splat twice, i8x16.relaxed_swizzle)
  relaxed_simd: [
    ...[1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0],
    ...[65, 0, 253, 15, 65, 0, 253, 15, 253, 128, 2, 11],
  ],
  // (memory i64 1)
  memory64: [5, 3, 1, 4, 1],
};

/** The command. */
export const doctorCommand: Command = {
  name: "doctor",
  usage: "",
  summary: "Say what this machine can do: SIMD, threads, memory, WebGPU, and what to do about it.",
  positional: [0, 0],
  options: [],
  async run(args) {
    const found = await examine();
    if (args.flag("json")) return writeLine(JSON.stringify(found));
    const yes = (value: boolean) => value ? "yes" : "no";
    writeLine(table(["what", "here", "what it means"], [
      ["lowbit", found.lowbit, `on ${found.runtime}`],
      ["SIMD", yes(found.simd), found.simd ? "kernels run" : "needed: take a newer runtime"],
      [
        "relaxed SIMD",
        yes(found.relaxed_simd),
        found.relaxed_simd ? "faster products with int8 activations" : "those products are slower",
      ],
      ["64-bit memory", yes(found.memory64), "not used: a kernel holds up to 4 GiB"],
      ["cores", String(found.cores), "threads that --threads 0 takes"],
      ["threads of kernels", yes(found.threads), found.threads ? "more than one" : "one only"],
      ["kernels", found.kernels, "the same bytes with any of them"],
      [
        "memory",
        found.memory_bytes === undefined ? "-" : formatBytes(found.memory_bytes),
        found.memory_bytes === undefined
          ? "give --allow-sys to see it"
          : "bound runs by --max-memory",
      ],
      ["WebGPU", yes(found.webgpu), "not used by any command"],
      [
        "energy counter",
        yes(found.energy),
        found.energy ? "compare says joules" : "none, or not readable (Linux, --allow-all)",
      ],
    ]));
  },
};

interface Findings {
  lowbit: string;
  runtime: string;
  simd: boolean;
  relaxed_simd: boolean;
  memory64: boolean;
  cores: number;
  threads: boolean;
  kernels: string;
  memory_bytes?: number;
  webgpu: boolean;
  energy: boolean;
}

async function examine(): Promise<Findings> {
  const cores = navigator.hardwareConcurrency;
  const kernels = await loadKernels({ threads: Math.min(2, cores) });
  const { name, threads } = kernels;
  kernels.close();
  return {
    lowbit: VERSION,
    runtime: `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`,
    simd: takes("simd"),
    relaxed_simd: takes("relaxed_simd"),
    memory64: takes("memory64"),
    cores,
    threads: threads > 1,
    kernels: name,
    memory_bytes: await memory(),
    webgpu: "gpu" in navigator && await adapter(),
    energy: readEnergy() !== undefined,
  };
}

function takes(probe: string): boolean {
  return WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, ...PROBES[probe]]));
}

/** Memory of the machine, where the process may ask without being asked back. */
async function memory(): Promise<number | undefined> {
  const { state } = await Deno.permissions.query({ name: "sys", kind: "systemMemoryInfo" });
  return state === "granted" ? Deno.systemMemoryInfo().total : undefined;
}

async function adapter(): Promise<boolean> {
  try {
    const { gpu } = navigator as unknown as { gpu: { requestAdapter(): Promise<unknown> } };
    return await gpu.requestAdapter() !== null;
  } catch {
    return false; // no driver counts as none
  }
}
