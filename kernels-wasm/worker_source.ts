/**
 * The program of a worker, as text: a worker started from text needs no permission to read a file,
 * and bundlers leave it alone.
 *
 * The control block is described in `pool.ts`. A job's ticket holds the job's number in the upper
 * 20 bits and the next chunk in the lower 12. A worker reads the job between two looks at the
 * ticket and takes a chunk only if the number is still the same, so that it never acts on a job
 * that is being written.
 *
 * @module
 */

/** Words of the control block, by name. Each that is written often has a cache line of its own. */
export const WORD = {
  ticket: 0,
  wake: 16,
  done: 32,
  operation: 48,
  argumentCount: 49,
  units: 50,
  chunks: 51,
  scratch: 52,
  scratchBytes: 53,
  failed: 54,
  stop: 55,
} as const;

/** Bytes from the start of the control block to the arguments (f64). */
export const ARGUMENTS_AT = 256;
/** The most arguments of an operation. */
export const MAX_ARGUMENTS = 32;
/** Bytes of the control block. */
export const CONTROL_BYTES = ARGUMENTS_AT + 8 * MAX_ARGUMENTS;
/** Bits of a ticket that number the chunk. */
export const CHUNK_BITS = 12;

/** The program. Its settings arrive in the first message (in Node and Deno: as worker data). */
export const WORKER_SOURCE = `
const node = globalThis.process?.getBuiltinModule?.("node:worker_threads");
const WORD = ${JSON.stringify(WORD)};

function link(module, memory) {
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = kind === "memory" ? memory : () => {};
  }
  return new WebAssembly.Instance(module, imports).exports;
}

function serve(settings, ready) {
  const { module, relaxed, memory, control, operations, index } = settings;
  let exports = link(module, memory);
  exports.__wbindgen_start(settings.stackBytes);
  if (relaxed) {
    const second = link(relaxed, memory);
    second.__stack_pointer.value = settings.relaxedStack;
    exports = { ...exports, ...second };
  }
  const words = new Int32Array(memory.buffer, control, ${ARGUMENTS_AT / 4});
  const numbers = new Float64Array(memory.buffer, control + ${ARGUMENTS_AT}, ${MAX_ARGUMENTS});

  function work() {
    const job = Atomics.load(words, WORD.ticket) >>> ${CHUNK_BITS};
    const operation = exports[operations[words[WORD.operation]]];
    const args = Array.from(numbers.subarray(0, words[WORD.argumentCount]));
    const units = words[WORD.units] >>> 0;
    const chunks = words[WORD.chunks];
    const scratch = (words[WORD.scratch] >>> 0) + index * (words[WORD.scratchBytes] >>> 0);
    for (;;) {
      const ticket = Atomics.load(words, WORD.ticket);
      const chunk = ticket & ${(1 << CHUNK_BITS) - 1};
      if (ticket >>> ${CHUNK_BITS} !== job || chunk >= chunks) return;
      if (Atomics.compareExchange(words, WORD.ticket, ticket, ticket + 1) !== ticket) continue;
      try {
        const begin = Math.floor(units * chunk / chunks);
        operation(...args, scratch, begin, Math.floor(units * (chunk + 1) / chunks));
      } catch {
        Atomics.store(words, WORD.failed, 1);
      }
      // the calling thread may sleep on the counter
      if (Atomics.add(words, WORD.done, 1) + 1 >= chunks) Atomics.notify(words, WORD.done);
    }
  }

  ready();
  let seen = 0;
  while (Atomics.load(words, WORD.stop) === 0) {
    // a short spin catches operations that follow each other closely
    for (let i = 0; i < 2000 && Atomics.load(words, WORD.wake) === seen; i++);
    Atomics.wait(words, WORD.wake, seen);
    const wake = Atomics.load(words, WORD.wake);
    if (wake !== seen) {
      seen = wake;
      work();
    }
  }
}

if (node?.workerData?.lowbit) {
  serve(node.workerData.lowbit, () => node.parentPort.postMessage("ready"));
} else {
  globalThis.onmessage = (event) => serve(event.data, () => globalThis.postMessage("ready"));
}
`;
