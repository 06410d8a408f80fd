/**
 * Checkpoints and kernels for the tests of this folder: made up, without files and arithmetic.
 *
 * @module
 */

import type {
  Buffer,
  BufferArrays,
  BufferType,
  Checkpoint,
  GgufValue,
  Kernels,
  Naming,
  StoredTensor,
} from "../spec/mod.ts";
import { architectures } from "./architecture.ts";
import { readHyperparameters } from "./hyperparameters.ts";
import { specialize } from "./inherit.ts";
import { listParameters } from "./parameters.ts";

/** config.json of a model that is small enough to count. */
export const CONFIG: Readonly<Record<string, unknown>> = {
  model_type: "llama",
  vocab_size: 10,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 16,
  rms_norm_eps: 1e-5,
};

/** The same in GGUF metadata. */
export const METADATA: Readonly<Record<string, unknown>> = {
  "general.architecture": "llama",
  "llama.vocab_size": 10,
  "llama.embedding_length": 8,
  "llama.feed_forward_length": 12,
  "llama.block_count": 2,
  "llama.attention.head_count": 2,
  "llama.attention.head_count_kv": 1,
  "llama.context_length": 16,
  "llama.attention.layer_norm_rms_epsilon": Math.fround(1e-5),
};

/** A tensor of given values. */
export function tensorOf(name: string, shape: number[], values?: Float32Array): StoredTensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const data = values ?? Float32Array.from({ length: count }, (_, i) => i % 97);
  const columns = count / shape[0];
  return {
    name,
    shape,
    storage: { kind: "plain", type: "float32" },
    bytes: 4 * count,
    read: (rows) =>
      Promise.resolve(rows ? data.slice(rows.start * columns, rows.end * columns) : data.slice()),
    raw: () => Promise.resolve(new Uint8Array(data.slice().buffer)),
    quantized: () => Promise.reject(new Error("is plain")),
  };
}

/** A complete checkpoint for settings, with every tensor that they ask for. */
export function checkpointOf(
  config: Record<string, unknown>,
  naming: Naming = "huggingface",
  gguf?: ReadonlyMap<string, GgufValue>,
): Checkpoint & { tensors: Map<string, StoredTensor> } {
  const settings = { name: "made-up", naming, config, gguf };
  const whole = architectures().find(({ id }) => id === "llama")!;
  const hyperparameters = readHyperparameters(whole, settings);
  const special = specialize(whole, hyperparameters);
  // Neither settings nor tensors ask for divisors of frequencies.
  const parameters = special.parameters.filter(({ rope_factors }) => !rope_factors);
  const architecture = { ...special, parameters };
  const tensors = new Map<string, StoredTensor>();
  for (const p of listParameters(architecture, hyperparameters)) {
    tensors.set(p.names[naming], tensorOf(p.names[naming], p.shape));
  }
  return { ...settings, kind: "none", tensors, files: [], sidecars: new Map(), close() {} };
}

const ARRAYS = {
  u8: Uint8Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
};

/** Kernels with memory that is counted, and the operations that a test gives. */
export function kernelsOf(operations: Partial<Kernels> = {}): Kernels {
  let bytes = 0;
  const make = <T extends BufferType>(type: T, array: BufferArrays[T], own: boolean): Buffer<T> => {
    let freed = !own;
    if (own) bytes += array.byteLength;
    const buffer: Buffer<T> = {
      type,
      length: array.length,
      array,
      slice: (start, length) =>
        make(type, array.subarray(start, start + length) as BufferArrays[T], false),
      free() {
        if (freed) throw new Error("freed twice, or a slice");
        freed = true;
        bytes -= array.byteLength;
      },
      [Symbol.dispose]: () => buffer.free(),
    };
    return buffer;
  };
  return {
    name: "counting",
    threads: 1,
    memory: () => ({ bytes, peak: bytes }),
    alloc: <T extends BufferType>(type: T, length: number) =>
      make(type, new ARRAYS[type](length) as BufferArrays[T], true),
    upload: (data: Float32Array) => make("f32", data.slice(), true),
    ...operations,
  } as unknown as Kernels;
}
