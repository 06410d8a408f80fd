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
} from "../../spec/mod.ts";
import { type JsonValue, parseJson, sortedJson, toPlain } from "../containers/json.ts";
import { resolveScheme } from "../lookup.ts";

/** The version of the dialect that is written. */
export const LOWBIT_VERSION = 1;

/** The version of a file that is wrong without its online transforms. */
const WITH_TRANSFORMS = 2;

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

/** The metadata of the dialect. */
export interface LowbitMetadata {
  /** The coded tensors by name, in file order. */
  tensors: ReadonlyMap<string, LowbitEntry>;
  /** The schemes of the inputs of linears, by the names of their weights. */
  activations: ReadonlyMap<string, ResolvedScheme>;
  /** What the blocks do beyond the architecture. */
  transforms: readonly OnlineTransform[];
  /** Whether there are side tensors, in {@linkcode SIDE_FILE}. */
  side: boolean;
  /** The version of lowbit and the recipe that made it. */
  provenance: { lowbit: string; recipe: string };
}

/**
 * The metadata as JSON with sorted keys. Each different scheme is written once. The text has the
 * same length with and without `side`, so that it can be patched.
 */
export function formatLowbitMetadata(metadata: LowbitMetadata): string {
  const schemes: ResolvedScheme[] = [];
  const indices = new Map<string, number>();
  const index = (scheme: ResolvedScheme): number => {
    const key = sortedJson(scheme);
    const known = indices.get(key);
    if (known !== undefined) return known;
    indices.set(key, schemes.length);
    return schemes.push(scheme) - 1;
  };
  const tensors = [...metadata.tensors].map(([name, { scheme, layout, shape }]) =>
    [name, { layout, scheme: index(scheme), shape }] as const
  );
  const activations = [...metadata.activations].map(([name, scheme]) =>
    [name, index(scheme)] as const
  );
  const parts = [
    `"activations":${sortedJson(Object.fromEntries(activations))}`,
    `"lowbit":${JSON.stringify(metadata.provenance.lowbit)}`,
    `"recipe":${JSON.stringify(metadata.provenance.recipe)}`,
    `"schemes":${sortedJson(schemes)}`,
    `"side":${metadata.side ? "true " : "false"}`,
    `"tensors":${sortedJson(Object.fromEntries(tensors))}`,
    ...(metadata.transforms.length > 0
      ? [`"transforms":${sortedJson([...metadata.transforms])}`, `"version":${WITH_TRANSFORMS}`]
      : [`"version":${LOWBIT_VERSION}`]),
  ];
  return `{${parts.join(",")}}`;
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
  if (version !== LOWBIT_VERSION && version !== WITH_TRANSFORMS) {
    if (typeof version !== "number") return fail("version", "is not a number");
    throw new LowbitError("UNSUPPORTED", `is version ${version} of the lowbit dialect`, {
      file,
      advice: "use a newer version of lowbit",
    });
  }
  const documents = root.get("schemes");
  if (!Array.isArray(documents)) return fail("schemes", "is not a list");
  const schemes = documents.map((document) =>
    resolveScheme(schemeSchema.parse(toPlain(document), file))
  );
  const schemeAt = (value: JsonValue | undefined, field: string): ResolvedScheme =>
    (typeof value === "number" ? schemes[value] : undefined) ??
      fail(field, "does not name a scheme");
  const object = (field: string): Map<string, JsonValue> => {
    const value = root.get(field);
    return value instanceof Map ? value : fail(field, "is not an object");
  };
  const tensors = new Map<string, LowbitEntry>();
  for (const [name, value] of object("tensors")) {
    if (!(value instanceof Map)) return fail(name, "is not an object");
    const layout = value.get("layout");
    const shape = value.get("shape");
    if (layout !== LOWBIT_LAYOUT) return fail(name, "has an unknown layout");
    const fine = Array.isArray(shape) && shape.length === 2 &&
      shape.every((n) => typeof n === "number" && Number.isSafeInteger(n) && n >= 0);
    if (!fine) return fail(name, "its shape is not two counts");
    const scheme = schemeAt(value.get("scheme"), name);
    tensors.set(name, { scheme, layout, shape: shape as [number, number] });
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
  if ((listed !== undefined) !== (version === WITH_TRANSFORMS)) {
    return fail("transforms", `do not go with version ${version}`);
  }
  const transforms = listed === undefined
    ? []
    : onlineTransformsSchema.parse(toPlain(listed), `${file}: lowbit metadata`);
  return { tensors, activations, transforms, side, provenance };
}
