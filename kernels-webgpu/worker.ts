/**
 * The program of the worker that has the GPU. WebGPU answers asynchronously and kernels are
 * synchronous, so a worker talks to the GPU while the caller waits on an atomic.
 *
 * @module
 */

/** Words of the control block. */
export const STATE = 0, LENGTH = 1, REQUEST = 2;
/** Values of the state. */
export const WAITING = 0, DONE = 1, FAILED = 2;
/** Bytes of the control block: four words, then the text of an error. */
export const CONTROL_BYTES = 2048;
/** Where the text of an error begins. */
export const TEXT_AT = 16;

/** The names of the shaders. */
export type Shader = "gemv" | "gemm";

/** What the worker is asked; arrays come beside it, in the order that is named here. */
export type Message =
  /** Opens the GPU. */
  | { kind: "start" }
  /**
   * Keeps a weight. Arrays: its shape (the two vectors of the shaders, tokens being 0), codes, table,
   * scales, zero points or minimums.
   */
  | { kind: "weight"; id: number; bits: number }
  /** Multiplies. Arrays: the inputs. The answer: the outputs. */
  | {
    kind: "product";
    id: number;
    tokens: number;
    shader: Shader;
    groups: [number, number, number];
  }
  /** Gives a weight back. */
  | { kind: "free"; id: number };

/** Numbers that go to the worker. */
export type Numbers = Uint32Array | Float32Array;

/** What is written at the start of the mail, as JSON behind its length (32 bits). */
export interface Envelope {
  message: Message;
  /** Where arrays are, in bytes; whether they are f32, or else u32; their lengths. */
  arrays: [at: number, float: boolean, length: number][];
  /** Where the answer goes, in bytes. */
  answerAt: number;
}

/** What the worker is given when it starts. */
export interface Start {
  control: SharedArrayBuffer;
  mail: SharedArrayBuffer;
  shaders: Record<Shader, string>;
}

/**
 * Answers messages for ever. It is sent to the worker as text, so it uses nothing but its own
 * arguments and what every worker has. Messages come by shared memory and an atomic: those of
 * `postMessage` reach a nested worker only after the caller's turn, which lasts until the answer.
 */
export async function serve({ control: block, mail, shaders }: Start): Promise<void> {
  interface Weight {
    shape: Uint32Array;
    bits: number;
    buffers: GPUBuffer[];
  }
  const weights = new Map<number, Weight>();
  const pipelines = new Map<string, GPUComputePipeline>();
  const scratch = new Map<string, GPUBuffer>();
  const control = new Int32Array(block);
  let device: GPUDevice;

  function answer(state: number, text = "") {
    const bytes = new TextEncoder().encode(text.slice(0, 500));
    new Uint8Array(block, 16).set(bytes);
    control[1] = bytes.length;
    Atomics.store(control, 0, state);
    Atomics.notify(control, 0);
  }

  function open(): { message: Message; arrays: Numbers[]; answerAt: number } {
    const bytes = new Uint8Array(mail, 4, new Uint32Array(mail, 0, 1)[0]).slice();
    const { message, arrays, answerAt } = JSON.parse(new TextDecoder().decode(bytes)) as Envelope;
    return {
      message,
      arrays: arrays.map(([at, float, length]) =>
        float
          ? new Float32Array(mail, at, length).slice() // the queue takes no shared memory
          : new Uint32Array(mail, at, length).slice()
      ),
      answerAt,
    };
  }

  async function start() {
    const gpu = (globalThis.navigator as { gpu?: GPU } | undefined)?.gpu;
    const adapter = await gpu?.requestAdapter();
    if (!adapter) throw new Error("there is no WebGPU adapter");
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    device = await adapter.requestDevice({
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
    });
  }

  /** What `make` gives; throws what the GPU finds wrong with it. */
  async function checked<T>(make: () => T | Promise<T>): Promise<T> {
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    let made: T | undefined;
    let thrown: unknown;
    try {
      made = await make();
    } catch (error) {
      thrown = error;
    }
    const errors = [await device.popErrorScope(), await device.popErrorScope()];
    const error = errors.find((found) => found !== null);
    if (error) throw new Error(error.message);
    if (thrown) throw thrown;
    return made as T;
  }

  function upload(data: Numbers, usage: number): GPUBuffer {
    const size = Math.max(16, data.byteLength);
    const buffer = device.createBuffer({ size, usage: usage | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  }

  function keepWeight(id: number, bits: number, [shape, ...rest]: Numbers[]) {
    const buffers = rest.map((data) => upload(data, GPUBufferUsage.STORAGE));
    buffers.unshift(upload(shape, GPUBufferUsage.UNIFORM));
    weights.set(id, { shape: shape as Uint32Array, bits, buffers });
  }

  /** A buffer for passing values, at least as large as asked. */
  function passing(name: string, size: number, usage: number): GPUBuffer {
    const known = scratch.get(name);
    if (known && known.size >= size) return known;
    known?.destroy();
    const buffer = device.createBuffer({ size: Math.max(16, size), usage });
    scratch.set(name, buffer);
    return buffer;
  }

  function pipeline(shader: Shader, bits: number): GPUComputePipeline {
    const key = `${shader}/${bits}`;
    const known = pipelines.get(key);
    if (known) return known;
    const module = device.createShaderModule({ code: shaders[shader] });
    const made = device.createComputePipeline({
      layout: "auto",
      compute: { module, entryPoint: "main", constants: { BITS: bits } },
    });
    pipelines.set(key, made);
    return made;
  }

  async function product(
    { id, tokens, shader, groups }: Message & { kind: "product" },
    inputs: Numbers,
    answerAt: number,
  ) {
    const { shape, bits, buffers } = weights.get(id)!;
    const [rows] = shape;
    const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
    const bytes = 4 * tokens * rows;
    const x = passing("x", inputs.byteLength, STORAGE | COPY_DST);
    const y = passing("y", bytes, STORAGE | COPY_SRC);
    const back = passing("back", bytes, COPY_DST | MAP_READ);
    device.queue.writeBuffer(x, 0, inputs as Float32Array<ArrayBuffer>);
    device.queue.writeBuffer(buffers[0], 8, Uint32Array.of(tokens));
    const compute = pipeline(shader, bits);
    const [uniform, ...storage] = buffers;
    const group = device.createBindGroup({
      layout: compute.getBindGroupLayout(0),
      entries: [uniform, x, ...storage, y].map((buffer, binding) => ({
        binding,
        resource: { buffer },
      })),
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(compute);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...groups);
    pass.end();
    encoder.copyBufferToBuffer(y, 0, back, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await back.mapAsync(GPUMapMode.READ, 0, bytes);
    const result = new Float32Array(back.getMappedRange(0, bytes));
    new Float32Array(mail, answerAt, tokens * rows).set(result);
    back.unmap();
  }

  for (let seen = 0;;) {
    const wait = Atomics.waitAsync(control, 2, seen);
    if (wait.async) await wait.value;
    const request = Atomics.load(control, 2);
    if (request === seen) continue;
    seen = request;
    try {
      const { message, arrays, answerAt } = open();
      if (message.kind === "start") await start();
      else if (message.kind === "weight") {
        await checked(() => keepWeight(message.id, message.bits, arrays));
      } else if (message.kind === "product") {
        await checked(() => product(message, arrays[0], answerAt));
      } else {
        for (const buffer of weights.get(message.id)?.buffers ?? []) buffer.destroy();
        weights.delete(message.id);
      }
      answer(1);
    } catch (error) {
      answer(2, error instanceof Error ? error.message : String(error));
    }
  }
}
