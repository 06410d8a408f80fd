/**
 * onnxruntime-web as a peer of the kernels: one product, one thread, its WebAssembly backend.
 *
 * @module
 */

// deno-lint-ignore no-import-prefix -- only this benchmark needs it
import * as ort from "npm:onnxruntime-web@1.30.0/wasm";
import { type ProductKind, productModel } from "./onnx_model.ts";

/** The peer's name and version. */
export const ONNXRUNTIME = "onnxruntime-web 1.30.0";

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
