/**
 * Layouts: how codes and their parameters become bytes.
 *
 * @module
 */

import { z } from "zod";
import { ID_PATTERN } from "./number_format.ts";
import { type Schema, schema } from "./schema.ts";

/**
 * What a layout lays out at a time:
 *
 * - `row`: the codes of one row, padded to a multiple of `align` bytes
 * - `block`: `codes` codes of a row with their parameters, in `bytes` bytes
 * - `tile`: the codes of `rows` x `columns`; tiles follow each other row by row
 * - `matrix`: all codes
 *
 * What does not fill its tiles, or the digits of its planes, is refused, or `padded` with zero bits.
 */
export type LayoutUnit =
  | { kind: "row"; align: number }
  | { kind: "block"; codes: number; bytes: number }
  | { kind: "tile"; rows: number; columns: number; padded: boolean }
  | { kind: "matrix"; padded: boolean };

/** A number of bits; or so many times the rows or columns of the packed matrix: `8*columns`. */
export type Stride = number | `${number}*rows` | `${number}*columns`;

/**
 * A digit of an index in mixed radix: its size (`*`: what the other digits leave) and the distance
 * in bits that one step of it makes.
 */
export type Digit = [size: number | "*", stride: Stride];

/**
 * Where some bits of some codes lie. The index of a code (of its column, and of its row in units
 * with rows) is written in mixed radix, slowest digit first; the bit at which the code begins is
 * `8 * at + shift` plus each digit times its stride.
 */
export interface Plane {
  /** The lowest bit of the code that is in this plane. */
  low: number;
  /** How many bits; all from `low` on if absent. */
  bits?: number;
  /** The first code of the plane, and how many codes it has; all if absent. */
  codes?: [first: number, count: number];
  /** The byte of the unit at which the plane starts; `after`: where the plane before it ends. */
  at: number | "after";
  /** Bits to add to it. */
  shift: number;
  /** Digits of the column (of the number, for a part). */
  digits: Digit[];
  /** Digits of the row, for units with rows. */
  rows?: Digit[];
  /**
   * `bits`, or `base3`: a byte holds up to five codes 0, 1, 2 as `ceil(256/243 * sum c_i 3^(4-i))`,
   * and the last three bits of a position are i.
   */
  coding: "bits" | "base3";
}

/**
 * The parts of a block beside its codes. `scale` and `minimum` are those of the scheme's tiles, the
 * `super` ones those of its second level; `signs` and `index` belong to vector formats. `sum` is the
 * sum of codes (of their values, in a float format), for programs that want it at hand.
 */
export type PartName =
  | "scale"
  | "minimum"
  | "super_scale"
  | "super_minimum"
  | "signs"
  | "index"
  | "sum";

/** Numbers that lie in a block beside its codes. */
export interface LayoutPart {
  /** What they are. */
  part: PartName;
  /** Their number format: `float32`, or an id of the catalog. */
  format: string;
  /** How many a block has. */
  count: number;
  /** The byte at which they start, whole bytes one after the other, where there are no planes. */
  at: number;
  /** Added to a code (modulo `2^bits`) before it is stored. */
  offset: number;
  /** Where their bits lie. */
  planes?: Plane[];
}

/**
 * How codes become bytes: data that one packer and one unpacker read (`formats/pack.ts`).
 *
 * Codes (plus `offset`, modulo `2^bits`) of a unit are a little-endian bit stream, first code in
 * the lowest bits, unless `planes` say where every bit is. Scales are tensors of their own, unless
 * `parts` places them in the block.
 */
export interface Layout {
  /** The catalog id. */
  id: string;
  /** One line: what it is. */
  summary: string;
  /** The bit widths that it can hold; `[0]` for vector formats, whose blocks have parts only. */
  bits: number[];
  /**
   * Added to every code before packing, modulo `2^bits`: 8 turns int4 into offset binary, as does
   * `half` at every width.
   */
  offset: number | "half";
  /** `columns`: a stream runs along a row; `rows`: the transposed matrix is laid out. */
  axis: "columns" | "rows";
  /** What is laid out at a time. */
  unit: LayoutUnit;
  /** Where the bits are, if not in a dense stream. */
  planes?: Plane[];
  /** Words of this many bits of all units take turns: word w of unit u is word `w * units + u`. */
  interleave?: number;
  /** Parameters in the block. */
  parts?: LayoutPart[];
  /** Where the definition comes from. */
  source: string;
}

const id = z.string().regex(ID_PATTERN, "must be lower case letters, digits and _");
const stride = z.union([
  z.int().min(-(2 ** 20)).max(2 ** 20),
  z.templateLiteral([z.int(), "*", z.enum(["rows", "columns"])]),
]);
const digits = z.array(z.tuple([z.union([z.int().min(1).max(4096), z.literal("*")]), stride]))
  .min(1).max(16);

const plane = z.strictObject({
  low: z.int().min(0).max(15).default(0),
  bits: z.int().min(1).max(16).optional(),
  codes: z.tuple([z.int().min(0), z.int().min(1)]).optional(),
  at: z.union([z.int().min(0).max(4096), z.literal("after")]).default(0),
  shift: z.int().min(0).max(64).default(0),
  digits,
  rows: digits.optional(),
  coding: z.enum(["bits", "base3"]).default("bits"),
});

const part = z.strictObject({
  part: z.enum(["scale", "minimum", "super_scale", "super_minimum", "signs", "index", "sum"]),
  format: id,
  count: z.int().min(1).max(4096).default(1),
  at: z.int().min(0).max(4096).default(0),
  offset: z.int().min(0).max(65535).default(0),
  planes: z.array(plane).min(1).max(16).optional(),
});

const padded = z.boolean().default(false);

/** The zod schema of a layout. */
export const layoutZod: z.ZodType<Layout> = z.strictObject({
  id,
  summary: z.string().min(1),
  bits: z.array(z.int().min(0).max(32)).min(1),
  offset: z.union([z.int().min(0).max(65535), z.literal("half")]).default(0),
  axis: z.enum(["columns", "rows"]).default("columns"),
  unit: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("row"), align: z.int().min(1).max(64).default(1) }),
    z.strictObject({
      kind: z.literal("block"),
      codes: z.int().min(2).max(4096),
      bytes: z.int().min(1).max(4096),
    }),
    z.strictObject({
      kind: z.literal("tile"),
      rows: z.int().min(1).max(1024),
      columns: z.int().min(1).max(1024),
      padded,
    }),
    z.strictObject({ kind: z.literal("matrix"), padded }),
  ]),
  planes: z.array(plane).min(1).max(16).optional(),
  interleave: z.union([z.literal(8), z.literal(16), z.literal(32)]).optional(),
  parts: z.array(part).min(1).max(8).optional(),
  source: z.string().default(""),
}).superRefine((layout, context) => {
  const issue = (path: string, message: string) =>
    context.addIssue({ code: "custom", path: [path], message });
  const { unit, planes, parts, bits } = layout;
  if (parts && unit.kind !== "block") issue("parts", "parts need a block");
  if (planes && bits.length > 1) issue("bits", "a layout with planes holds one width");
  if (bits.includes(0) && (!parts || planes)) issue("bits", "0 is for blocks of parts only");
  if (unit.kind === "matrix" && !planes) issue("planes", "a matrix needs planes");
  const covered = planes?.reduce((sum, p) => sum + (p.codes ? 0 : p.bits ?? bits[0] - p.low), 0);
  if (planes?.every((p) => !p.codes) && covered !== bits[0]) {
    issue("planes", `hold ${covered} bits of ${bits[0]}`);
  }
  const names = parts?.map((p) => p.part) ?? [];
  if (new Set(names).size !== names.length) issue("parts", "names a part twice");
  if (layout.interleave && unit.kind === "row" && unit.align * 8 % layout.interleave !== 0) {
    issue("interleave", "rows must be whole words");
  }
});

/**
 * Checks a layout read from YAML or JSON.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layoutSchema } from "./layout.ts";
 * const unit = { kind: "row" };
 * const layout = layoutSchema.parse({ id: "bytes", summary: "one code a byte", bits: [8], unit });
 * assertEquals([layout.axis, layout.offset, layout.unit], ["columns", 0, { kind: "row", align: 1 }]);
 * ```
 */
export const layoutSchema: Schema<Layout> = schema("layout", layoutZod);

/**
 * What a layout adds to codes of `bits` bits.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { codeOffset } from "./layout.ts";
 * assertEquals(codeOffset({ offset: "half" }, 4), 8);
 * assertEquals(codeOffset({ offset: 255 }, 4), 15); // one less, modulo 16
 * ```
 */
export function codeOffset({ offset }: Pick<Layout, "offset">, bits: number): number {
  return offset === "half" ? 2 ** (bits - 1) : offset % 2 ** bits;
}

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
