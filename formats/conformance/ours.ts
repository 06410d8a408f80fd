/**
 * Our own codecs on conformance vectors: the reference, or whatever kernels are handed in.
 *
 * @module
 */

import {
  type Cast,
  type Codecs,
  type Kernels,
  type NumberFormat,
  numberFormatSchema,
  type ScaleSpec,
  type VectorEntry,
} from "../../spec/mod.ts";
import { castTensor, quantizeTensor, varyFormat, varyScheme } from "../encode_file.ts";
import { layouts, numberFormats, schemes } from "../lookup.ts";
import { packMatrix, referencePack, referenceUnpack, unpackMatrix } from "../pack.ts";
import { decodeTable } from "../reference.ts";
import { compareOutputs, type EntryReport, skipped, type VectorOutputs } from "./compare.ts";
import type { Vectors, VectorTensors } from "./vectors.ts";

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
  vectors: Vectors,
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

function packed(entry: VectorEntry, tensors: VectorTensors, engine: Engine): VectorOutputs {
  const layout = layouts.get(entry.id);
  const kernels = engine.reference ? undefined : engine.kernels;
  const { codes, bytes, scales, zeros } = tensors;
  if (!codes) return {};
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
