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
import { elementCount, plainTensor, rowRange } from "../containers/stored.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { unpackMatrix } from "../pack.ts";
import { codedTensor, type Tools } from "./coded.ts";
import { GGML_CODED, parametersOf } from "./ggml_coded.ts";
import { decodeGrid, GGML_GRIDS } from "./ggml_grids.ts";

/**
 * Opens a GGUF file. Its settings are the scalar metadata; `gguf` has the arrays as well.
 *
 * Block types that are codes with scales (`GGML_CODED`) are coded tensors. Those of vectors
 * (`GGML_GRIDS`) have values, but no codes of their elements: `quantized` is `UNSUPPORTED`.
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
  if (!coded) return gridTensor(source, tensor, tools);
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
  return { shape, scheme, codes, parameters: parametersOf(scheme, shape, parts!) };
}

/** A tensor of a block type of vectors. */
function gridTensor(source: ByteSource, tensor: GgufTensor, tools: Tools): StoredTensor {
  const { name, shape, type, offset, bytes } = tensor;
  const grid = GGML_GRIDS.get(type.name);
  const refuse = (what: string, advice: string) =>
    Promise.reject(
      new LowbitError("UNSUPPORTED", `tensors of type ${type.name} ${what}`, {
        file: source.name,
        field: name,
        advice,
      }),
    );
  const known = ["F32", "F16", "BF16", ...GGML_CODED.keys(), ...GGML_GRIDS.keys()];
  const inRow = elementCount(shape.slice(1));
  const rowBytes = inRow / type.block * type.bytes;
  return {
    name,
    shape,
    storage: { kind: "foreign", type: type.name },
    bytes,
    async read(rows) {
      if (!grid) return await refuse("cannot be read", `known types: ${known.join(", ")}`);
      const { start, end } = rowRange(name, shape, rows);
      if (shape.length < 2) {
        const values = decodeGrid(await source.read(offset, bytes), grid, tools.kernels);
        return values.slice(start, end);
      }
      const part = await source.read(offset + start * rowBytes, (end - start) * rowBytes);
      return decodeGrid(part, grid, tools.kernels);
    },
    raw: () => source.read(offset, bytes),
    quantized: () => refuse("have no codes of single elements", "use read()"),
  };
}
