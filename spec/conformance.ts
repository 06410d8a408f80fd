/**
 * Conformance vectors: inputs and expected outputs of other implementations, as a manifest and
 * safetensors files that any program can read.
 *
 * @module
 */

import { z } from "zod";
import type { NumberFormat } from "./number_format.ts";
import { numberFormatZod } from "./number_format_schema.ts";
import { type Schema, schema } from "./schema.ts";

/**
 * What a tensor of an entry is:
 *
 * - `x`: inputs, F32; `codes`: one code an element
 * - `table`: the value of every code of a number format
 * - `scales`, `zeros`: one a tile; NaN where any number will do
 * - `second.scales`, `second.over`, `second.offset`: what is stored where scales have a second level
 * - `values`: what codes and parameters decode to
 * - `bytes`: packed codes
 */
export type VectorRole =
  | "x"
  | "codes"
  | "table"
  | "scales"
  | "zeros"
  | "second.scales"
  | "second.over"
  | "second.offset"
  | "values"
  | "bytes";

/** A bound instead of equality, and why. */
export interface VectorBound {
  /** The largest distance of two numbers. */
  absolute?: number;
  /** How much larger the error to the input may be than the oracle's. */
  error?: number;
  /** Why equality cannot be asked for. */
  reason: string;
}

/** One entry: a format, a scheme or a layout as one implementation has it. */
export interface VectorEntry {
  /** The name: `ID/ORACLE`, or more. */
  name: string;
  /** What it is. */
  kind: "number" | "scheme" | "layout";
  /** The id of the catalog. */
  id: string;
  /** Who made the expected outputs. */
  oracle: { package: string; version: string; call: string };
  /** The cast, with the fields that a number format has. */
  cast?: Record<string, string | number>;
  /** Parts of the scale, with the fields that a scheme has. */
  scale?: Record<string, string | number>;
  /** The number format itself, where it is in no catalog. */
  definition?: NumberFormat;
  /** Bits of a code of a layout. */
  bits?: number;
  /** What is laid out how. */
  about?: string;
  /** Inputs. */
  cases: number;
  /** `exact`, or how hard to hold which tensor; tensors that are not named are not compared. */
  hold: "exact" | Partial<Record<VectorRole, "exact" | VectorBound>>;
  /** What is left out, and why. */
  excluded?: string[];
  /** Why lowbit does not do the same. */
  skip?: string;
  /** The names of its tensors. */
  tensors: Partial<Record<VectorRole, string>>;
}

/** The manifest of conformance vectors. */
export interface VectorManifest {
  /** One line: what it is. */
  about: string;
  /** The script that made it. */
  made_by: string;
  /** The version of this document's structure. */
  version: 1;
  /** The safetensors files. */
  files: string[];
  /** Oracles that could not be run, and why. */
  unavailable: string[];
  /** The entries. */
  entries: VectorEntry[];
}

const roles = z.enum([
  "x",
  "codes",
  "table",
  "scales",
  "zeros",
  "second.scales",
  "second.over",
  "second.offset",
  "values",
  "bytes",
]);
const bound = z.strictObject({
  absolute: z.number().min(0).optional(),
  error: z.number().min(0).optional(),
  reason: z.string().min(1),
});
const rules = z.record(z.string(), z.union([z.string(), z.number()]));

const entry = z.strictObject({
  name: z.string().min(1),
  kind: z.enum(["number", "scheme", "layout"]),
  id: z.string().min(1),
  oracle: z.strictObject({
    package: z.string().min(1),
    version: z.string().regex(/\d+\.\d+/, "must be a version"),
    call: z.string().min(1),
  }),
  cast: rules.optional(),
  scale: rules.optional(),
  definition: numberFormatZod.optional(),
  bits: z.int().min(1).max(16).optional(),
  about: z.string().optional(),
  cases: z.int().min(1),
  hold: z.union([
    z.literal("exact"),
    z.partialRecord(roles, z.union([z.literal("exact"), bound])),
  ]),
  excluded: z.array(z.string()).optional(),
  skip: z.string().optional(),
  tensors: z.partialRecord(roles, z.string()),
});

const manifest = z.strictObject({
  about: z.string(),
  made_by: z.string(),
  version: z.literal(1),
  files: z.array(z.string().regex(/^[\w.-]+\.safetensors$/)).min(1),
  unavailable: z.array(z.string()).default([]),
  entries: z.array(entry).min(1),
});

/**
 * Checks a manifest of conformance vectors.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorManifestSchema } from "./conformance.ts";
 * const manifest = vectorManifestSchema.parse({
 *   about: "vectors of int4",
 *   made_by: "a script",
 *   version: 1,
 *   files: ["numbers.safetensors"],
 *   entries: [{
 *     name: "int4/torch",
 *     kind: "number",
 *     id: "int4",
 *     oracle: { package: "torch", version: "2.15.0", call: "clamp(round(x), -8, 7)" },
 *     cases: 3,
 *     hold: "exact",
 *     tensors: { x: "int4.x", codes: "int4.codes" },
 *   }],
 * });
 * assertEquals(manifest.entries[0].id, "int4");
 * ```
 */
export const vectorManifestSchema: Schema<VectorManifest> = schema(
  "conformance manifest",
  manifest,
);
