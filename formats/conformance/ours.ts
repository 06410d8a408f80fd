/**
 * Our own codecs on conformance vectors: the reference, or whatever kernels are handed in.
 *
 * @module
 */

import {
  type Cast,
  type Codecs,
  type Kernels,
  type Layout,
  type NumberFormat,
  numberFormatSchema,
  type ScaleSpec,
  type VectorEntry,
} from "../../spec/mod.ts";
import { castTensor, quantizeTensor, varyFormat, varyScheme } from "../encode_file.ts";
import { GGML_CODED, parametersOf } from "../dialects/ggml_coded.ts";
import { decodeGrid, GGML_GRIDS } from "../dialects/ggml_grids.ts";
import { layouts, numberFormats, resolveScheme, schemes } from "../lookup.ts";
import { packMatrix, referencePack, referenceUnpack, unpackMatrix } from "../pack.ts";
import { decodeTable } from "../reference.ts";
import { compareOutputs, type EntryReport, skipped, type VectorOutputs } from "./compare.ts";
import type { ConformanceVectors, VectorTensors } from "./vectors.ts";

/** What runs the vectors. */
export interface Engine {
  /** Kernels, and the codecs on them. */
  kernels: Kernels;
  /** Codecs on these kernels. */
  codecs: Codecs;
  /** Number formats and layouts by the normative reference, element by element. */
  reference: boolean;
}

/**
 * Runs an entry on our own codec and compares. Entries whose id is in no catalog are skipped, as
 * are those that say so.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { referenceKernels } from "../../kernels-wasm/reference.ts";
 * import { createCodecs } from "../codec.ts";
 * import { runEntry } from "./ours.ts";
 * import { openVectors } from "./vectors.ts";
 * const vectors = await openVectors(new URL("../../conformance", import.meta.url).pathname);
 * const entry = vectors.manifest.entries.find(({ name }) => name === "float4_e2m1fn/ml_dtypes")!;
 * const kernels = referenceKernels();
 * const engine = { kernels, codecs: createCodecs(kernels), reference: true };
 * assertEquals((await runEntry(vectors, entry, engine)).failed, 0);
 * ```
 */
export async function runEntry(
  vectors: ConformanceVectors,
  entry: VectorEntry,
  engine: Engine,
): Promise<EntryReport> {
  if (entry.skip) return skipped(entry, entry.skip);
  if (!known(entry)) return skipped(entry, `no ${entry.kind} ${entry.id} in the catalog`);
  const tensors = await vectors.tensors(entry);
  return compareOutputs(entry, tensors, outputs(entry, tensors, engine));
}

function known({ kind, id, definition }: VectorEntry): boolean {
  if (kind === "number") return definition !== undefined || numberFormats.has(id);
  return (kind === "scheme" ? schemes : layouts).has(id);
}

/**
 * The number format of an entry, with its cast.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { entryFormat } from "./ours.ts";
 * const oracle = { package: "torch", version: "2.15.0", call: "to" };
 * const cast = { overflow: "saturate" };
 * const entry = { name: "a/b", kind: "number", id: "float8_e4m3fn", oracle, cast } as const;
 * const format = entryFormat({ ...entry, cases: 1, hold: "exact", tensors: {} });
 * assertEquals(format.cast.overflow, "saturate");
 * ```
 */
export function entryFormat({ id, cast, definition }: VectorEntry): NumberFormat {
  return definition
    ? numberFormatSchema.parse({ ...definition, cast: { ...definition.cast, ...cast } }, id)
    : varyFormat(id, cast as Partial<Cast>);
}

function outputs(entry: VectorEntry, tensors: VectorTensors, engine: Engine): VectorOutputs {
  const { kernels, reference } = engine;
  const cast = entry.cast as Partial<Cast>;
  switch (entry.kind) {
    case "number": {
      const format = entryFormat(entry);
      const table = format.bits <= 16 ? decodeTable(format) : undefined;
      if (!tensors.x) return { table };
      const x = tensors.x.values as Float32Array;
      const { codes, values } = castTensor(reference ? undefined : kernels, format, x);
      return { codes, values, table };
    }
    case "scheme": {
      const scheme = varyScheme(entry.id, cast, entry.scale as Partial<ScaleSpec>);
      const { shape, values } = tensors.x!;
      const made = quantizeTensor(engine.codecs, scheme, values as Float32Array, shape);
      const second = made.stored.map((part) => [`second.${part.name}`, part.values]);
      return { ...made, ...Object.fromEntries(second) };
    }
    case "layout":
      return packed(entry, tensors, engine);
  }
}

/** Blocks that hold everything: their values, and the bytes of what was read. */
function readBlocks(
  layout: Layout,
  tensors: VectorTensors,
  { kernels, codecs }: Engine,
): VectorOutputs {
  if (layout.unit.kind !== "block" || !tensors.bytes) return {};
  const { bytes } = tensors.bytes;
  const type = [...GGML_CODED].find(([, row]) => row.layout === layout.id);
  if (!type) {
    const grid = [...GGML_GRIDS.values()].find((one) => one.layout === layout.id);
    return grid ? { values: decodeGrid(bytes, grid, kernels) } : {};
  }
  const scheme = resolveScheme(type[1].scheme);
  const { bits } = scheme.element;
  const shape: [number, number] = [bytes.length / layout.unit.bytes, layout.unit.codes];
  const size = { rows: shape[0], columns: shape[1], bits };
  const read = unpackMatrix(kernels, bytes, size, layout);
  const parameters = parametersOf(scheme, shape, read.parts ?? {});
  return {
    values: codecs.get(scheme).dequantize({ shape, scheme, codes: read.codes, parameters }),
    bytes: packMatrix(kernels, read, size, layout),
  };
}

function packed(entry: VectorEntry, tensors: VectorTensors, engine: Engine): VectorOutputs {
  const layout = layouts.get(entry.id);
  const kernels = engine.reference ? undefined : engine.kernels;
  const { codes, bytes, scales, zeros } = tensors;
  if (!codes) return readBlocks(layout, tensors, engine);
  const columns = codes.shape.at(-1) ?? 1;
  const rows = codes.values.length / columns;
  const size = { rows, columns, bits: entry.bits ?? layout.bits[0] };
  const parts = {
    ...(scales && { scale: scales.values as Float32Array }),
    ...(zeros && { minimum: zeros.values as Float32Array }),
  };
  const given = { codes: codes.values as Uint8Array, parts };
  const made = kernels
    ? packMatrix(kernels, given, size, layout)
    : referencePack(given, size, layout);
  const back = kernels
    ? unpackMatrix(kernels, bytes!.bytes, size, layout)
    : referenceUnpack(bytes!.bytes, size, layout);
  return {
    bytes: made,
    codes: back.codes,
    scales: back.parts?.scale,
    zeros: back.parts?.minimum,
    values: tensors.values?.values,
  };
}
