/**
 * What the dialect "lowbit" says in the metadata of a safetensors file: for every coded tensor its
 * whole scheme, its layout and its shape.
 *
 * @module
 */

import {
  LowbitError,
  type OnlineTransform,
  onlineTransformsSchema,
  type ResolvedScheme,
  schemeSchema,
  type VectorFormat,
  vectorFormatSchema,
} from "../../spec/mod.ts";
import { type JsonValue, parseJson, sortedJson, toPlain } from "../containers/json.ts";
import { resolveScheme, resolveVectorFormat } from "../lookup.ts";

/** The version of the dialect that is written for schemes alone. */
export const LOWBIT_VERSION = 1;

/** The version of a file that an older reader would get wrong: vector tensors, online transforms. */
export const LOWBIT_LATER_VERSION = 2;

/** The version of a file that has rotations among its side tensors. */
export const LOWBIT_ROTATION_VERSION = 3;

/** The file beside model.safetensors that holds side tensors, if there are any. */
export const SIDE_FILE = "model.side.safetensors";

/** The layout of codes and zero points. */
export const LOWBIT_LAYOUT = "lowbit_dense";

/** One coded tensor. */
export interface LowbitEntry {
  /** Its scheme; the element format included. */
  scheme: ResolvedScheme;
  /** The id of its layout. */
  layout: string;
  /** Its shape. */
  shape: [rows: number, columns: number];
}

/** One vector tensor. */
export interface LowbitVectorEntry {
  /** Its format, number formats included. */
  format: VectorFormat;
  /** Its shape. */
  shape: [rows: number, columns: number];
}

/** The metadata of the dialect. */
export interface LowbitMetadata {
  /** The coded tensors by name, in file order. */
  tensors: ReadonlyMap<string, LowbitEntry>;
  /** The vector tensors by name, in file order. */
  vectors: ReadonlyMap<string, LowbitVectorEntry>;
  /** The schemes of the inputs of linears, by the names of their weights. */
  activations: ReadonlyMap<string, ResolvedScheme>;
  /** What the blocks do beyond the architecture. */
  transforms: readonly OnlineTransform[];
  /** Whether some of the side tensors are rotations; known when all is written. */
  rotations?: boolean;
  /** Whether there are side tensors, in {@linkcode SIDE_FILE}. */
  side: boolean;
  /** The version of lowbit and the recipe that made it. */
  provenance: { lowbit: string; recipe: string };
}

/** Different documents in the order in which they are first seen. */
class Documents<T> {
  readonly list: T[] = [];
  readonly #indices = new Map<string, number>();

  /** The number of a document in the list. */
  index(document: T): number {
    const key = sortedJson(document);
    const known = this.#indices.get(key);
    if (known !== undefined) return known;
    this.#indices.set(key, this.list.length);
    return this.list.push(document) - 1;
  }
}

/**
 * The metadata as JSON with sorted keys. Each different scheme and vector format is written once.
 * The text has the same length with and without `side` and `rotations`, so that it can be patched.
 */
export function formatLowbitMetadata(metadata: LowbitMetadata): string {
  const schemes = new Documents<ResolvedScheme>();
  const formats = new Documents<VectorFormat>();
  const tensors = [...metadata.tensors].map(([name, { scheme, layout, shape }]) =>
    [name, { layout, scheme: schemes.index(scheme), shape }] as const
  );
  const activations = [...metadata.activations].map(([name, scheme]) =>
    [name, schemes.index(scheme)] as const
  );
  const vectors = [...metadata.vectors].map(([name, { format, shape }]) =>
    [name, { format: formats.index(format), shape }] as const
  );
  const { transforms } = metadata;
  const parts = [
    `"activations":${sortedJson(Object.fromEntries(activations))}`,
    `"lowbit":${JSON.stringify(metadata.provenance.lowbit)}`,
    `"recipe":${JSON.stringify(metadata.provenance.recipe)}`,
    `"schemes":${sortedJson(schemes.list)}`,
    `"side":${metadata.side ? "true " : "false"}`,
    `"tensors":${sortedJson(Object.fromEntries(tensors))}`,
    ...(transforms.length > 0 ? [`"transforms":${sortedJson([...transforms])}`] : []),
    ...(vectors.length > 0
      ? [
        `"vector_formats":${sortedJson(formats.list)}`,
        `"vectors":${sortedJson(Object.fromEntries(vectors))}`,
      ]
      : []),
    `"version":${versionOf(metadata)}`,
  ];
  return `{${parts.join(",")}}`;
}

function versionOf({ rotations, vectors, transforms }: LowbitMetadata): number {
  if (rotations) return LOWBIT_ROTATION_VERSION;
  return vectors.size + transforms.length > 0 ? LOWBIT_LATER_VERSION : LOWBIT_VERSION;
}

/**
 * Reads the metadata. Errors: `MALFORMED`, `UNSUPPORTED` (a newer version), `SCHEMA` (a scheme).
 */
export function parseLowbitMetadata(text: string, file: string): LowbitMetadata {
  const fail = (field: string, problem: string): never => {
    throw new LowbitError("MALFORMED", problem, { file, field: `lowbit metadata: ${field}` });
  };
  const root = parseJson(text, { file });
  if (!(root instanceof Map)) return fail("root", "is not an object");
  const version = root.get("version");
  if (typeof version !== "number") return fail("version", "is not a number");
  if (![LOWBIT_VERSION, LOWBIT_LATER_VERSION, LOWBIT_ROTATION_VERSION].includes(version)) {
    throw new LowbitError("UNSUPPORTED", `is version ${version} of the lowbit dialect`, {
      file,
      advice: "use a newer version of lowbit",
    });
  }
  const list = (field: string): unknown[] => {
    const documents = root.get(field);
    return Array.isArray(documents) ? documents.map(toPlain) : fail(field, "is not a list");
  };
  const schemes = list("schemes").map((document) =>
    resolveScheme(schemeSchema.parse(document, file))
  );
  const at = <T>(from: T[], value: JsonValue | undefined, field: string, what: string): T =>
    (typeof value === "number" ? from[value] : undefined) ?? fail(field, `does not name a ${what}`);
  const schemeAt = (value: JsonValue | undefined, field: string): ResolvedScheme =>
    at(schemes, value, field, "scheme");
  const object = (field: string): Map<string, JsonValue> => {
    const value = root.get(field);
    return value instanceof Map ? value : fail(field, "is not an object");
  };
  const shapeOf = (name: string, shape: JsonValue | undefined): [number, number] => {
    const fine = Array.isArray(shape) && shape.length === 2 &&
      shape.every((n) => typeof n === "number" && Number.isSafeInteger(n) && n >= 0);
    return fine ? shape as [number, number] : fail(name, "its shape is not two counts");
  };
  const tensors = new Map<string, LowbitEntry>();
  for (const [name, value] of object("tensors")) {
    if (!(value instanceof Map)) return fail(name, "is not an object");
    const layout = value.get("layout");
    if (layout !== LOWBIT_LAYOUT) return fail(name, "has an unknown layout");
    const shape = shapeOf(name, value.get("shape"));
    const scheme = schemeAt(value.get("scheme"), name);
    tensors.set(name, { scheme, layout, shape });
  }
  for (const field of ["transforms", "vectors"]) {
    if (root.has(field) && version < LOWBIT_LATER_VERSION) {
      return fail(field, `do not go with version ${version}`);
    }
  }
  const vectors = new Map<string, LowbitVectorEntry>();
  if (root.has("vectors")) {
    const formats = list("vector_formats").map((document) =>
      resolveVectorFormat(vectorFormatSchema.parse(document, file))
    );
    for (const [name, value] of object("vectors")) {
      if (!(value instanceof Map)) return fail(name, "is not an object");
      const format = at(formats, value.get("format"), name, "vector format");
      vectors.set(name, { format, shape: shapeOf(name, value.get("shape")) });
    }
  }
  const activations = new Map(
    [...object("activations")].map(([name, value]) => [name, schemeAt(value, name)] as const),
  );
  const string = (field: string): string => {
    const value = root.get(field);
    return typeof value === "string" ? value : fail(field, "is not a string");
  };
  const side = root.get("side");
  if (typeof side !== "boolean") return fail("side", "is not a boolean");
  const provenance = { lowbit: string("lowbit"), recipe: string("recipe") };
  const listed = root.get("transforms");
  const transforms = listed === undefined
    ? []
    : onlineTransformsSchema.parse(toPlain(listed), `${file}: lowbit metadata`);
  return { tensors, vectors, activations, transforms, side, provenance };
}
