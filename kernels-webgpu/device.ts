/**
 * A GPU that is used synchronously: messages to a worker that has it, and waiting for the answer.
 *
 * @module
 */

import { LowbitError } from "../spec/errors.ts";
import { GEMM, GEMV } from "./shaders.ts";
import {
  CONTROL_BYTES,
  DONE,
  type Envelope,
  FAILED,
  LENGTH,
  type Message,
  type Numbers,
  REQUEST,
  serve,
  type Start,
  STATE,
  TEXT_AT,
  WAITING,
} from "./worker.ts";

/** How long an answer may take. A software adapter needs seconds for a large product. */
const TIMEOUT_MS = 300_000;
/** Bytes before the arrays; the header is a few hundred. */
const HEADER_BYTES = 4096;
/** The most bytes of a message: the memory is reserved, and grows as it is needed. */
const MAX_MAIL_BYTES = 2 ** 30;

const SOURCE = `
const serve = ${serve.toString()};
const node = globalThis.process?.getBuiltinModule?.("node:worker_threads");
if (node?.parentPort) {
  node.parentPort.on("message", (start) => {
    node.parentPort.postMessage("ready");
    serve(start);
  });
} else {
  globalThis.onmessage = (event) => {
    globalThis.postMessage("ready");
    serve(event.data);
  };
}
`;

interface Port {
  terminate(): void;
}

/** The worker and the memory that is shared with it. */
export class Device {
  readonly #port: Port;
  readonly #control: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #mail: SharedArrayBuffer;
  #next = 0;
  #closed = false;

  private constructor(port: Port, { control, mail }: Start) {
    this.#port = port;
    this.#control = control;
    this.#words = new Int32Array(control);
    this.#mail = mail;
  }

  /** Starts the worker; `UNSUPPORTED` where there is no WebGPU. */
  static async open(): Promise<Device> {
    if (!mayWait()) {
      throw new LowbitError("UNSUPPORTED", "this thread may not wait for the GPU", {
        field: "device",
        advice: "in a browser, run in a Worker of a page that is isolated from other origins",
      });
    }
    const start: Start = {
      control: new SharedArrayBuffer(CONTROL_BYTES),
      mail: new SharedArrayBuffer(1 << 16, { maxByteLength: MAX_MAIL_BYTES }),
      shaders: { gemv: GEMV, gemm: GEMM },
    };
    const device = new Device(await startWorker(start), start);
    try {
      device.ask({ kind: "start" });
    } catch (error) {
      device.close();
      throw error;
    }
    return device;
  }

  /** A number for a new weight. */
  nextId(): number {
    return this.#next++;
  }

  /** Gives a weight back; its memory went already if the GPU was closed. */
  free(id: number): void {
    if (!this.#closed) this.ask({ kind: "free", id });
  }

  /** Sends a message with arrays and waits for the answer, of so many f32. */
  ask(message: Message, arrays: readonly Numbers[] = [], answer = 0): Float32Array {
    if (this.#closed) {
      throw new LowbitError("UNSUPPORTED", "the GPU was closed", { field: "device" });
    }
    const answerAt = this.#write(message, arrays, answer);
    const words = this.#words;
    Atomics.store(words, STATE, WAITING);
    Atomics.add(words, REQUEST, 1);
    Atomics.notify(words, REQUEST);
    Atomics.wait(words, STATE, WAITING, TIMEOUT_MS);
    const state = Atomics.load(words, STATE);
    if (state === DONE) return new Float32Array(this.#mail, answerAt, answer);
    const text = new Uint8Array(this.#control, TEXT_AT, words[LENGTH]).slice();
    throw new LowbitError(
      "UNSUPPORTED",
      state === FAILED ? `the GPU: ${new TextDecoder().decode(text)}` : "the GPU does not answer",
      { field: "device", advice: "leave the device out to run on the CPU" },
    );
  }

  /** Puts a message into the mail; returns where its answer will be. */
  #write(message: Message, data: readonly Numbers[], answer: number): number {
    let at = HEADER_BYTES;
    const arrays = data.map((array): Envelope["arrays"][number] => {
      const start = at;
      at += array.byteLength;
      return [start, array instanceof Float32Array, array.length];
    });
    const bytes = at + 4 * answer;
    if (bytes > MAX_MAIL_BYTES) {
      throw new LowbitError("LIMIT", `${bytes} bytes are more than the GPU is sent at once`, {
        field: "weight",
      });
    }
    if (bytes > this.#mail.byteLength) this.#mail.grow(bytes);
    const envelope: Envelope = { message, arrays, answerAt: at };
    const header = new TextEncoder().encode(JSON.stringify(envelope));
    new Uint32Array(this.#mail, 0, 1)[0] = header.length;
    new Uint8Array(this.#mail, 4).set(header);
    data.forEach((array, i) => {
      const [start, float, length] = arrays[i];
      const view = float
        ? new Float32Array(this.#mail, start, length)
        : new Uint32Array(this.#mail, start, length);
      view.set(array);
    });
    return at;
  }

  /** Stops the worker. */
  close(): void {
    this.#closed = true;
    this.#port.terminate();
  }
}

function mayWait(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** The part of `node:worker_threads` that is used; Deno has it too. */
interface NodeWorkers {
  Worker: new (
    source: string,
    options: { eval: true; env: Record<string, string> },
  ) => Port & {
    postMessage(message: unknown): void;
    once(event: "message" | "error", listener: (value: unknown) => void): void;
    unref(): void;
  };
}

function startWorker(start: Start): Promise<Port> {
  const { process } = globalThis as {
    process?: { getBuiltinModule?(name: string): NodeWorkers | undefined };
  };
  const node = process?.getBuiltinModule?.("node:worker_threads");
  return new Promise((resolve, reject) => {
    if (node) {
      const worker = new node.Worker(SOURCE, { eval: true, env: {} });
      worker.once("error", reject);
      worker.once("message", () => {
        worker.unref();
        resolve(worker);
      });
      worker.postMessage(start);
      return;
    }
    const url = URL.createObjectURL(new Blob([SOURCE], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    worker.onerror = reject;
    worker.onmessage = () => {
      URL.revokeObjectURL(url);
      resolve(worker);
    };
    worker.postMessage(start);
  });
}
