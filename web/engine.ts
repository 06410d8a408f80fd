/// <reference lib="dom" />
/**
 * The worker as the page sees it: calls that return promises. Ending it is how work is cancelled:
 * at once, and with all of its memory given back.
 *
 * @module
 */

import type { Answer, Calls, Fault } from "./protocol.ts";

/** An error that the worker reports. */
export class EngineError extends Error {
  /** Wraps what the worker says. */
  constructor(readonly fault: Fault) {
    super(fault.message);
  }
}

/** The work was cancelled. */
export class Cancelled extends Error {}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
  onEvent?(event: unknown): void;
}

/**
 * The program of the workers. It is started from memory, not by its address: such a worker has the
 * content security policy of the page, which allows no other origin, on every host.
 */
let program: Promise<string> | undefined;

function programUrl(): Promise<string> {
  return program ??= (async () => {
    const response = await fetch("worker.js");
    if (!response.ok) throw new Error(`worker.js: the server answers ${response.status}`);
    const text = await response.text();
    return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  })();
}

/** Threads that a page may have: all cores where memory can be shared, else one. */
export function threadsAllowed(): number {
  return globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency ?? 1, 16) : 1;
}

/** Numbers of calls; over all workers, as two objects may speak for one. */
let next = 0;

/** A worker with kernels of its own. */
export class Engine {
  /** Threads of the kernels. */
  readonly threads: number;
  readonly #worker: Worker;
  readonly #waiting: Map<number, Waiting>;

  private constructor(worker: Worker, waiting: Map<number, Waiting>, threads: number) {
    this.#worker = worker;
    this.#waiting = waiting;
    this.threads = threads;
  }

  /** Starts one; with a single thread for small work. */
  static async start(threads: number = threadsAllowed()): Promise<Engine> {
    const worker = new Worker(await programUrl(), { type: "module" });
    const waiting = new Map<number, Waiting>();
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const entry = waiting.get(data.id);
      if (!entry) return;
      if ("event" in data) return entry.onEvent?.(data.event);
      waiting.delete(data.id);
      if ("fault" in data) entry.reject(new EngineError(data.fault));
      else entry.resolve(data.result);
    };
    worker.onerror = (event) => {
      for (const { reject } of waiting.values()) reject(new Error(event.message || "it crashed"));
      waiting.clear();
    };
    const starting = new Engine(worker, waiting, 1);
    const started = await starting.call("start", { threads, base: document.baseURI });
    return new Engine(worker, waiting, started.threads);
  }

  /** Calls the worker. */
  call<K extends keyof Calls>(
    call: K,
    args: Calls[K]["args"],
    onEvent?: (event: Calls[K]["event"]) => void,
  ): Promise<Calls[K]["result"]> {
    const id = ++next;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, {
        resolve: resolve as (result: unknown) => void,
        reject,
        onEvent: onEvent as (event: unknown) => void,
      });
      this.#worker.postMessage({ id, call, args });
    });
  }

  /** Ends the worker; calls under way are `Cancelled`. */
  end(): void {
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(new Cancelled("cancelled"));
    this.#waiting.clear();
  }
}

/** One line for an error of any kind. */
export function faultText(error: unknown): string {
  if (error instanceof EngineError) return `${error.fault.code}: ${error.fault.message}`;
  return error instanceof Error ? error.message : String(error);
}
