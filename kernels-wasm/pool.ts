/**
 * Threads: workers that share the memory of the kernels and split an operation's units.
 *
 * Operations stay synchronous for the caller: it writes the job into the control block, wakes the
 * workers, takes chunks of units like them, and waits until the last chunk is done. Units are
 * independent outputs, so nothing depends on who computes which.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import { type ExportName, type Instance, type Modules, RELAXED_STACK_BYTES } from "./instance.ts";
import type { Heap } from "./memory.ts";
import {
  ARGUMENTS_AT,
  CHUNK_BITS,
  CONTROL_BYTES,
  MAX_ARGUMENTS,
  WORD,
  WORKER_SOURCE,
} from "./worker_source.ts";

/** The parallel operations; jobs name them by their position. */
const OPERATIONS = [
  "abs_max",
  "activate",
  "add",
  "add_sparse",
  "attention",
  "attention_cached",
  "cholesky_panel",
  "cholesky_update",
  "column_panels",
  "column_stats",
  "convert",
  "decode",
  "divergence",
  "encode",
  "encode_feedback",
  "gram",
  "group_activations",
  "hadamard",
  "inverse_finish",
  "inverse_panel",
  "inverse_update",
  "jacobi",
  "layer_norm",
  "linear_binary",
  "linear_codebook",
  "linear_dense",
  "linear_fp6",
  "linear_grouped",
  "linear_integer",
  "linear_integer_relaxed",
  "linear_packed",
  "linear_planes",
  "linear_planes_int",
  "log_softmax",
  "matmul",
  "narrow",
  "pack",
  "power",
  "product64",
  "quantize_activations",
  "range",
  "reflect",
  "rms_norm",
  "rope",
  "rotate",
  "scale_columns",
  "silu_gate",
  "softmax",
  "tile_error",
  "token_tiles",
  "trailing_update",
  "triangular_solve",
  "tridiagonal",
  "unpack",
  "widen",
] as const satisfies ExportName[];

/** The name of a parallel operation. */
export type Operation = typeof OPERATIONS[number];

/** Chunks for each thread: more even out the load, fewer cost less. */
const CHUNKS_PER_THREAD = 8;
/** Operations with less work than this (in elements or products) stay on the calling thread. */
const MIN_WORK = 1 << 17;
/** Looks at the counter before the calling thread goes to sleep. */
const SPINS = 5000;
/** Stack of a worker; operations keep their tables in scratch. */
const STACK_BYTES = 4 * 65536;
/** Scratch of a thread, at least. */
const MIN_SCRATCH = 64 * 1024;

/** A worker in its two forms: of `node:worker_threads` (Node, Deno) and of the web. */
interface WorkerHandle {
  terminate(): void;
}

/** How an operation is split. */
export interface Split {
  /** The units of its parallel dimension. */
  units: number;
  /** Elements or products in all, to tell whether threads pay. */
  work: number;
  /** Scratch of a thread, in bytes. */
  scratch?: number;
}

/** The threads of one set of kernels, and the scratch that each of them works with. */
export class Pool {
  #instance: Instance;
  #heap: Heap;
  #workers: WorkerHandle[] = [];
  #control = 0;
  #words: Int32Array<ArrayBufferLike> = new Int32Array(0);
  #numbers: Float64Array<ArrayBufferLike> = new Float64Array(0);
  #job = 0;
  #maySleep = false;
  #scratch = 0;
  #scratchBytes = 0;
  #suffix: "" | "_scalar" = "";

  /** A pool of the calling thread alone. */
  constructor(instance: Instance, heap: Heap) {
    this.#instance = instance;
    this.#heap = heap;
  }

  /** Threads that share an operation, the calling one among them. */
  get threads(): number {
    return this.#workers.length + 1;
  }

  /** For tests: operations by their scalar definitions. */
  useScalar(): void {
    this.#suffix = "_scalar";
  }

  /** Starts workers; where they cannot be had, the pool stays as it is. */
  async start({ simd128: module, relaxed }: Modules, count: number): Promise<void> {
    this.#control = this.#heap.take(CONTROL_BYTES);
    const { memory } = this.#instance;
    this.#words = new Int32Array(memory.buffer, this.#control, ARGUMENTS_AT / 4);
    this.#numbers = new Float64Array(memory.buffer, this.#control + ARGUMENTS_AT, MAX_ARGUMENTS);
    this.#maySleep = maySleep(this.#words);
    const stacks = relaxed ? this.#heap.take(count * RELAXED_STACK_BYTES) : 0;
    const control = this.#control;
    const settings = { module, relaxed, memory, control, operations: OPERATIONS };
    try {
      this.#workers = await Promise.all(
        Array.from(
          { length: count },
          (_, i) => {
            const relaxedStack = stacks + (i + 1) * RELAXED_STACK_BYTES;
            return startWorker({
              ...settings,
              index: i + 1,
              stackBytes: STACK_BYTES,
              relaxedStack,
            });
          },
        ),
      );
    } catch {
      this.close();
    }
  }

  /** Runs an operation over all its units. */
  run(operation: Operation, args: number[], split: Split): void {
    if (split.units === 0) return;
    this.#reserve(split.scratch ?? 0);
    const alone = this.#workers.length === 0 || split.units === 1 || split.work < MIN_WORK;
    try {
      if (alone || this.#suffix) this.#call(operation, args, 0, split.units);
      else this.#share(operation, args, split.units);
    } catch (cause) {
      if (cause instanceof LowbitError) throw cause;
      throw new LowbitError("NUMERICS", `the kernel ${operation} failed`, { cause });
    }
  }

  /** Stops the workers. The calling thread goes on alone. */
  close(): void {
    if (this.#control) {
      Atomics.store(this.#words, WORD.stop, 1);
      Atomics.add(this.#words, WORD.wake, 1);
      Atomics.notify(this.#words, WORD.wake);
    }
    for (const worker of this.#workers) worker.terminate();
    this.#workers = [];
  }

  #reserve(bytes: number): void {
    const needed = Math.ceil(Math.max(bytes, MIN_SCRATCH) / 64) * 64;
    if (needed <= this.#scratchBytes) return;
    const threads = this.threads;
    // It keeps nothing between jobs, so the old one makes room for the new one.
    if (this.#scratch) this.#heap.give(this.#scratch, this.#scratchBytes * threads);
    [this.#scratch, this.#scratchBytes] = [0, 0];
    this.#scratch = this.#heap.take(needed * threads);
    this.#scratchBytes = needed;
  }

  #call(operation: Operation, args: number[], begin: number, end: number): void {
    const name = operation + this.#suffix as Operation;
    const call = (this.#instance.exports[name] ?? this.#instance.exports[operation]) as (
      ...args: number[]
    ) => void;
    call(...args, this.#scratch, begin, end);
  }

  #share(operation: Operation, args: number[], units: number): void {
    const words = this.#words;
    const chunks = Math.min(units, this.threads * CHUNKS_PER_THREAD, (1 << CHUNK_BITS) - 2);
    // a closed ticket with a number of its own: nobody takes chunks while the job is written
    this.#setTicket((1 << CHUNK_BITS) - 1);
    words[WORD.operation] = OPERATIONS.indexOf(operation);
    words[WORD.argumentCount] = args.length;
    words[WORD.units] = units;
    words[WORD.chunks] = chunks;
    words[WORD.scratch] = this.#scratch;
    words[WORD.scratchBytes] = this.#scratchBytes;
    this.#numbers.set(args);
    Atomics.store(words, WORD.failed, 0);
    Atomics.store(words, WORD.done, 0);
    this.#setTicket(0);
    Atomics.add(words, WORD.wake, 1);
    Atomics.notify(words, WORD.wake);
    try {
      for (let chunk = this.#claim(chunks); chunk < chunks; chunk = this.#claim(chunks)) {
        const begin = Math.floor(units * chunk / chunks);
        this.#call(operation, args, begin, Math.floor(units * (chunk + 1) / chunks));
        Atomics.add(words, WORD.done, 1);
      }
    } catch (error) {
      Atomics.add(words, WORD.done, 1);
      for (let chunk = this.#claim(chunks); chunk < chunks; chunk = this.#claim(chunks)) {
        Atomics.add(words, WORD.done, 1);
      }
      this.#wait(chunks);
      throw error;
    }
    this.#wait(chunks);
    if (Atomics.load(words, WORD.failed)) {
      throw new LowbitError("NUMERICS", `the kernel ${operation} failed in a thread`);
    }
  }

  /** Waits for the other threads' chunks: awake for a moment, then asleep where that is allowed. */
  #wait(chunks: number): void {
    const words = this.#words;
    for (let spins = 0;; spins++) {
      const done = Atomics.load(words, WORD.done);
      if (done >= chunks) return;
      if (spins > SPINS && this.#maySleep) Atomics.wait(words, WORD.done, done, 1);
    }
  }

  #setTicket(chunk: number): void {
    this.#job = (this.#job + 1) & ((1 << (32 - CHUNK_BITS)) - 1);
    Atomics.store(this.#words, WORD.ticket, (this.#job << CHUNK_BITS) | chunk);
  }

  #claim(chunks: number): number {
    for (;;) {
      const ticket = Atomics.load(this.#words, WORD.ticket);
      const chunk = ticket & ((1 << CHUNK_BITS) - 1);
      if (chunk >= chunks) return chunk;
      if (Atomics.compareExchange(this.#words, WORD.ticket, ticket, ticket + 1) === ticket) {
        return chunk;
      }
    }
  }
}

/** Whether this thread may sleep: the main thread of a browser may not. */
function maySleep(words: Int32Array<ArrayBufferLike>): boolean {
  try {
    Atomics.wait(words, WORD.stop, 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** The part of `node:worker_threads` that is used; Deno has it too. */
interface NodeWorkers {
  Worker: new (
    source: string,
    options: { eval: true; workerData: unknown; env: Record<string, string> },
  ) => {
    once(event: "message" | "error", listener: (value: unknown) => void): void;
    unref(): void;
    terminate(): void;
  };
}

function nodeWorkers(): NodeWorkers | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?(name: string): NodeWorkers | undefined };
  };
  return process?.getBuiltinModule?.("node:worker_threads");
}

/** A worker that has said that it is ready. It does not keep the process alive. */
function startWorker(settings: Record<string, unknown>): Promise<WorkerHandle> {
  const node = nodeWorkers();
  return new Promise((resolve, reject) => {
    if (node) {
      const worker = new node.Worker(WORKER_SOURCE, {
        eval: true,
        workerData: { lowbit: settings },
        // Without an environment of its own a worker copies ours, which asks for a permission.
        env: {},
      });
      worker.once("error", reject);
      worker.once("message", () => {
        worker.unref();
        resolve(worker);
      });
      return;
    }
    const url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    worker.onerror = reject;
    worker.onmessage = () => {
      URL.revokeObjectURL(url);
      resolve(worker);
    };
    worker.postMessage(settings);
  });
}
