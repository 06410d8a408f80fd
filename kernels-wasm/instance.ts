/**
 * The WebAssembly modules and their instances. The generated glue of wasm-bindgen keeps one
 * instance a program; here every {@linkcode instantiate} makes one of its own.
 *
 * @module
 */

import type * as raw from "./lib/exports.d.ts";

/** The exports of a module: numbers and pointers in, numbers out. */
export type Exports = typeof raw & Partial<Relaxed>;

/** The exports of the second module, which only hosts with relaxed SIMD can compile. */
interface Relaxed {
  /** As `linear_integer`, for activations of bytes. */
  linear_integer_relaxed: typeof raw.linear_integer;
}

/** The names of exported functions. */
export type ExportName = keyof Exports;

/** The modules of one set of kernels. */
export interface Modules {
  /** All operations. */
  simd128: WebAssembly.Module;
  /** What gains by relaxed SIMD; absent where the host refuses it. */
  relaxed?: WebAssembly.Module;
}

const compiled = new Map<boolean, Promise<Modules>>();

/** The modules for memory of one thread or for shared memory; compiled once. */
export function modulesFor(shared: boolean): Promise<Modules> {
  let modules = compiled.get(shared);
  if (!modules) {
    modules = compileModules(shared);
    compiled.set(shared, modules);
  }
  return modules;
}

async function compileModules(shared: boolean): Promise<Modules> {
  const simd128 = await compile(await import("./lib/simd128_wasm.js"), shared);
  try {
    return { simd128, relaxed: await compile(await import("./lib/relaxed_wasm.js"), shared) };
  } catch {
    return { simd128 }; // no relaxed SIMD
  }
}

/** The bit of a memory import that says that the memory is shared. */
const SHARED = 2;

function compile(
  { default: text, memoryFlags }: { default: string; memoryFlags: number },
  shared: boolean,
): Promise<WebAssembly.Module> {
  const bytes = decodeBase64(text);
  if (!shared) bytes[memoryFlags] &= ~SHARED;
  return WebAssembly.compile(bytes);
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Memory at the start, in pages of 64 KiB; it must hold the module's own data. */
const INITIAL_PAGES = 64;
/** Memory can grow to this; the modules are built with the same number. */
const MAXIMUM_PAGES = 65535;
/** Stack of the second module, for each thread. */
export const RELAXED_STACK_BYTES = 16384;

/** The modules at work in one memory. */
export interface Instance {
  /** The exported functions. */
  exports: Exports;
  /** The memory, which grows. */
  memory: WebAssembly.Memory;
  /** The second module, if there is one. */
  relaxed?: WebAssembly.Module;
}

/**
 * New memory of at most `maximum` pages, and instances of the modules in it. The only functions that a module imports set up a
 * table of JavaScript values, which the kernels do not use.
 */
export function instantiate(
  { simd128, relaxed }: Modules,
  shared: boolean,
  maximum = MAXIMUM_PAGES,
): Instance {
  const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared });
  const exports = link(simd128, memory);
  (exports.__wbindgen_start as () => void)();
  if (!relaxed) return { exports: exports as unknown as Exports, memory };
  const second = link(relaxed, memory);
  const allocate = exports.block_alloc as Exports["block_alloc"];
  const stack = allocate(RELAXED_STACK_BYTES) >>> 0;
  if (stack === 0) throw new RangeError("no room for a stack");
  (second.__stack_pointer as WebAssembly.Global).value = stack + RELAXED_STACK_BYTES;
  return { exports: { ...exports, ...second } as unknown as Exports, memory, relaxed };
}

function link(module: WebAssembly.Module, memory: WebAssembly.Memory): WebAssembly.Exports {
  const imports: WebAssembly.Imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const group = imports[from] ??= {} as WebAssembly.ModuleImports;
    group[name] = kind === "memory" ? memory : () => {};
  }
  return new WebAssembly.Instance(module, imports).exports;
}
