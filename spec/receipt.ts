/**
 * The schema of receipts, for those who check one.
 *
 * @module
 */

import { z } from "zod";
import type { FileHash, Receipt } from "./events.ts";
import { recipeSchema } from "./recipe.ts";
import { type Schema, schema } from "./schema.ts";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in hexadecimal");
const file: z.ZodType<FileHash> = z.strictObject({
  // A name with a folder in it would lead out of the place of the receipt.
  name: z.string().regex(/^[^/\\]{1,255}$/, "must be a plain file name"),
  bytes: z.int().min(0),
  sha256,
});

const receipt: z.ZodType<Receipt> = z.object({
  receipt: z.literal(1),
  lowbit: z.string(),
  model: z.object({ architecture: z.string(), files: z.array(file) }),
  recipe: z.object({
    name: z.string(),
    sha256,
    document: z.unknown().transform((document) => recipeSchema.parse(document, "recipe")),
  }),
  plugins: z.array(z.object({ name: z.string(), version: z.string(), api: z.int() })),
  seed: z.int(),
  calibration: z.object({
    windows: z.int(),
    tokens: z.int(),
    sha256,
    source: z.object({
      kinds: z.array(z.enum(["text", "jsonl", "parquet", "ids", "shipped"])),
      files: z.array(file),
      documents: z.int().optional(),
      template: z.literal(true).optional(),
      samples: z.int(),
      length: z.int().optional(),
      seed: z.int().optional(),
    }).optional(),
  }).optional(),
  importance: z.object({ datasets: z.array(z.string()), sha256 }).optional(),
  statistics: z.object({ tokens: z.int(), sha256 }).optional(),
  target: z.string(),
  kernels: z.string(),
  tensors: z.array(z.any()),
  warnings: z.array(z.string()),
  output: z.array(file).min(1),
});

/**
 * Checks a receipt read from JSON.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { receiptSchema } from "./receipt.ts";
 * assertThrows(() => receiptSchema.parse({ receipt: 2 }), Error, "receipt");
 * ```
 */
export const receiptSchema: Schema<Receipt> = schema("receipt", receipt);
