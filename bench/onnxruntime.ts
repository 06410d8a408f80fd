/**
 * onnxruntime-web as a peer of the kernels: one product, one thread, its WebAssembly backend.
 *
 * @module
 */

import { type ProductKind, productModel } from "./onnx_model.ts";

const VERSION = "1.30.0";

/** The peer's name and version. */
export const ONNXRUNTIME = `onnxruntime-web ${VERSION}`;

/** What is used of the library. */
interface OnnxRuntime {
  env: { wasm: { numThreads: number }; logLevel: string };
  Tensor: new (type: string, data: Float32Array, shape: number[]) => { dispose(): void };
  InferenceSession: {
    create(model: Uint8Array, options: { executionProviders: string[] }): Promise<{
      run(feeds: Record<string, unknown>): Promise<Record<string, { dispose(): void }>>;
      release(): Promise<void>;
    }>;
  };
}

let library: OnnxRuntime | undefined;

/**
 * The library, fetched when it is asked for. It has 139 MB: were its name a literal, every user would
 * download it with the lock file.
 */
async function load(): Promise<OnnxRuntime> {
  const specifier = `npm:onnxruntime-web@${VERSION}/wasm`;
  return library ??= await import(specifier) as OnnxRuntime;
}

/** A product of the peer, ready to run. */
export interface PeerProduct {
  /** Runs it once. */
  run(): Promise<void>;
  /** Gives its memory back. */
  free(): Promise<void>;
}

/** Opens a product; `inputs` is `[m, k]`. */
export async function openProduct(
  kind: ProductKind,
  [m, n, k]: [number, number, number],
  inputs: Float32Array,
): Promise<PeerProduct> {
  const ort = await load();
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(productModel(kind, n, k), {
    executionProviders: ["wasm"],
  });
  const feeds = { X: new ort.Tensor("float32", inputs, [m, k]) };
  return {
    async run() {
      const { Y } = await session.run(feeds);
      Y.dispose();
    },
    free: () => session.release(),
  };
}
