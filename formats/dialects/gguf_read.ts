/**
 * A GGUF file as a checkpoint.
 *
 * @module
 */

import {
  type ByteSource,
  type Checkpoint,
  type GgufValue,
  type Layout,
  LowbitError,
  type QuantizedTensor,
  type StoredTensor,
} from "../../spec/mod.ts";
import { readGguf } from "../containers/gguf.ts";
import { GGML_PLAIN, type GgufTensor } from "../containers/gguf_types.ts";
import { elementCount, plainTensor } from "../containers/stored.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { unpackMatrix } from "../pack.ts";
import { codedTensor, type Tools } from "./coded.ts";

/** The block types that can be read as codes: ggml type to scheme and layout. */
export const GGML_CODED: ReadonlyMap<string, { scheme: string; layout: string }> = new Map([
  ["Q4_0", { scheme: "q4_0", layout: "ggml_q4_0" }],
  ["Q4_1", { scheme: "q4_1", layout: "ggml_q4_1" }],
  ["Q8_0", { scheme: "q8_0", layout: "ggml_q8_0" }],
]);

/**
 * Opens a GGUF file. Its settings are the scalar metadata; `gguf` has the arrays as well.
 *
 * Tensors of block types other than Q4_0, Q4_1 and Q8_0 are listed with their type; reading one is
 * `UNSUPPORTED`.
 */
export async function openGguf(
  source: ByteSource,
  name: string,
  tools: Tools = {},
): Promise<Checkpoint> {
  const header = await readGguf(source);
  const tensors = new Map(header.tensors.map((t) => [t.name, storedTensor(source, t, tools)]));
  return {
    name,
    kind: "gguf",
    naming: "gguf",
    config: scalars(header.metadata),
    tensors,
    files: [source],
    sidecars: new Map(),
    gguf: header.metadata,
    close: () => source.close(),
  };
}

/** Scalar metadata as settings; 64-bit integers become numbers where they are safe. */
function scalars(metadata: ReadonlyMap<string, GgufValue>): Record<string, unknown> {
  const entries: [string, unknown][] = [];
  for (const [key, { type, value }] of metadata) {
    if (type === "array") continue;
    const number = typeof value === "bigint" ? Number(value) : value;
    entries.push([key, Number.isSafeInteger(number) ? number : value]);
  }
  return Object.fromEntries(entries);
}

function storedTensor(source: ByteSource, tensor: GgufTensor, tools: Tools): StoredTensor {
  const { name, shape, type, offset } = tensor;
  const plain = GGML_PLAIN.get(type.name);
  if (plain) return plainTensor({ name, shape, type: plain, source, offset });
  const coded = GGML_CODED.get(type.name);
  if (!coded) return foreignTensor(source, tensor);
  const scheme = resolveScheme(coded.scheme);
  const layout = layoutOf(coded.layout);
  const columns = shape[shape.length - 1] ?? 1;
  const matrixRows = columns === 0 ? 0 : elementCount(shape) / columns;
  const rowBytes = matrixRows === 0 ? 0 : tensor.bytes / matrixRows;
  return codedTensor({
    name,
    shape,
    scheme,
    layout,
    bytes: tensor.bytes,
    file: source.name,
    load: async (start, end): Promise<QuantizedTensor> => {
      const bytes = await source.read(offset + start * rowBytes, (end - start) * rowBytes);
      return fromBlocks(bytes, [end - start, columns], scheme, layout, tools);
    },
    raw: () => source.read(offset, tensor.bytes),
  }, tools);
}

/** A quantised tensor from bytes of a layout that holds the parameters in its blocks. */
export function fromBlocks(
  bytes: Uint8Array,
  shape: [rows: number, columns: number],
  scheme: QuantizedTensor["scheme"],
  layout: Layout,
  tools: Tools,
): QuantizedTensor {
  const [rows, columns] = shape;
  const size = { rows, columns, bits: scheme.element.bits };
  const { codes, parts } = unpackMatrix(tools.kernels, bytes, size, layout);
  const { scale, minimum } = parts!;
  const parameters = minimum ? { scales: scale!, zeros: minimum } : { scales: scale! };
  return { shape, scheme, codes, parameters };
}

function foreignTensor(source: ByteSource, tensor: GgufTensor): StoredTensor {
  const refuse = () =>
    Promise.reject(
      new LowbitError("UNSUPPORTED", `tensors of type ${tensor.type.name} cannot be read`, {
        file: source.name,
        field: tensor.name,
        advice: `known types: F32, F16, BF16, ${[...GGML_CODED.keys()].join(", ")}`,
      }),
    );
  return {
    name: tensor.name,
    shape: tensor.shape,
    storage: { kind: "foreign", type: tensor.type.name },
    bytes: tensor.bytes,
    read: refuse,
    raw: () => source.read(tensor.offset, tensor.bytes),
    quantized: refuse,
  };
}
