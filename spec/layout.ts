/**
 * Layouts: how codes and their parameters become bytes.
 *
 * @module
 */

import { z } from "zod";
import { ID_PATTERN } from "./number_format.ts";
import { type Schema, schema } from "./schema.ts";

/** One field of a struct-of-a-block layout, in the order of the bytes. */
export type BlockField =
  | { field: "scale"; format: string }
  | { field: "minimum"; format: string }
  | { field: "codes" };

/**
 * How codes become bytes.
 *
 * Codes (plus `offset`, modulo `2^bits`) are laid in a little-endian bit stream, the first code in
 * the lowest bits. `order` says which code comes next: `neighbours` follows the row; `halves` puts
 * element `j` and `j + block/2` of a block in one byte. A stream belongs to a row (`block` absent,
 * padded to `row_align` bytes) or to a block of `block` elements. Scales are tensors of their own,
 * unless `fields` places them in the block.
 */
export interface Layout {
  /** The catalog id. */
  id: string;
  /** One line: what it is. */
  summary: string;
  /** Added to every code before packing, modulo `2^bits`: 8 turns int4 into offset binary. */
  offset: number;
  /** Which code comes next in the stream. */
  order: "neighbours" | "halves";
  /** Rows are padded to a multiple of this many bytes. */
  row_align: number;
  /** Elements of a block, for layouts whose unit is a block. */
  block?: number;
  /** The fields of a block in the order of their bytes, for layouts that are a struct. */
  fields?: BlockField[];
  /** The bit widths that it can hold. */
  bits: number[];
  /** Where the definition comes from. */
  source: string;
}

/** The zod schema of a layout. */
export const layoutZod: z.ZodType<Layout> = z.strictObject({
  id: z.string().regex(ID_PATTERN, "must be lower case letters, digits and _"),
  summary: z.string().min(1),
  offset: z.int().min(0).max(255).default(0),
  order: z.enum(["neighbours", "halves"]).default("neighbours"),
  row_align: z.int().min(1).max(64).default(1),
  block: z.int().min(2).max(4096).optional(),
  fields: z.array(z.discriminatedUnion("field", [
    z.strictObject({ field: z.literal("scale"), format: z.string().regex(ID_PATTERN) }),
    z.strictObject({ field: z.literal("minimum"), format: z.string().regex(ID_PATTERN) }),
    z.strictObject({ field: z.literal("codes") }),
  ])).optional(),
  bits: z.array(z.int().min(1).max(16)).min(1),
  source: z.string().default(""),
}).superRefine((layout, context) => {
  const issue = (path: string, message: string) =>
    context.addIssue({ code: "custom", path: [path], message });
  if (layout.order === "halves" && layout.block === undefined) {
    issue("order", "halves needs a block");
  }
  if (layout.fields && layout.block === undefined) issue("fields", "fields need a block");
  if (layout.fields && layout.fields.filter((f) => f.field === "codes").length !== 1) {
    issue("fields", "must name codes exactly once");
  }
});

/**
 * Checks a layout read from YAML or JSON.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layoutSchema } from "./layout.ts";
 * const layout = layoutSchema.parse({ id: "bytes", summary: "one code a byte", bits: [8] });
 * assertEquals([layout.order, layout.offset, layout.row_align], ["neighbours", 0, 1]);
 * ```
 */
export const layoutSchema: Schema<Layout> = schema("layout", layoutZod);

/**
 * Bytes of the bit stream of `count` codes of `bits` bits, padded to `align` bytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { streamBytes } from "./layout.ts";
 * assertEquals(streamBytes(33, 4), 17);
 * assertEquals(streamBytes(33, 4, 4), 20);
 * ```
 */
export function streamBytes(count: number, bits: number, align = 1): number {
  return Math.ceil(Math.ceil(count * bits / 8) / align) * align;
}
