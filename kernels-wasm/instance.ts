/**
 * The WebAssembly modules and their instances. The generated glue of wasm-bindgen keeps one
 * instance a program; here every {@linkcode instantiate} makes one of its own.
 *
 * @module
 */

import type * as raw from "./lib/exports.d.ts";

/** The exports of a module: numbers and pointers in, numbers out. */
export type Exports = typeof raw;

/** The names of exported functions. */
export type ExportName = keyof Exports;

/** A module in its two builds: with memory of its own, or with memory that threads share. */
export type Flavour = "simd128" | "threads";

const compiled = new Map<Flavour, Promise<WebAssembly.Module>>();

/** The compiled module; compiled once. */
export function moduleOf(flavour: Flavour): Promise<WebAssembly.Module> {
  let module = compiled.get(flavour);
  if (!module) {
    module = base64Of(flavour).then((text) => WebAssembly.compile(decodeBase64(text)));
    compiled.set(flavour, module);
  }
  return module;
}

async function base64Of(flavour: Flavour): Promise<string> {
  const module = flavour === "threads"
    ? await import("./lib/threads_wasm.js")
    : await import("./lib/simd128_wasm.js");
  return module.default;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** An instance and its memory. */
export interface Instance {
  /** The exported functions. */
  exports: Exports;
  /** The memory, which grows. */
  memory: WebAssembly.Memory;
}

/**
 * A new instance of a module; `memory` for the one with threads. The only functions that the module
 * imports set up a table of JavaScript values, which the kernels do not use.
 */
export function instantiate(module: WebAssembly.Module, memory?: WebAssembly.Memory): Instance {
  const imports: WebAssembly.Imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const group = imports[from] ??= {} as WebAssembly.ModuleImports;
    group[name] = kind === "memory" ? memory! : () => {};
  }
  const { exports } = new WebAssembly.Instance(module, imports);
  (exports.__wbindgen_start as (stack?: number) => void)?.();
  return {
    exports: exports as unknown as Exports,
    memory: memory ?? exports.memory as WebAssembly.Memory,
  };
}
