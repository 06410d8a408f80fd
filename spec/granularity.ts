/**
 * Granularity: which elements of a `[rows, columns]` matrix share one scale, and the shape
 * arithmetic of the scales. A weight is `[out, in]`, activations are `[tokens, channels]`.
 *
 * @module
 */

import { z } from "zod";
import { LowbitError } from "./errors.ts";

/**
 * Which elements share a scale.
 *
 * - `tensor`: all of them
 * - `channel`: a row of a weight (an output channel)
 * - `token`: a row of activations; the same arithmetic as `channel`
 * - `group`: `size` neighbours of a row; the last group of a row may be shorter
 * - `element`: every element has its own, the product of a factor of its row and of its column
 * - `block`: a tile of `rows` x `columns`; tiles at the edges may be smaller
 */
export type Granularity =
  | { kind: "tensor" }
  | { kind: "channel" }
  | { kind: "token" }
  | { kind: "group"; size: number }
  | { kind: "element" }
  | { kind: "block"; rows: number; columns: number };

/** The zod schema of a granularity. */
export const granularityZod: z.ZodType<Granularity> = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("tensor") }),
  z.strictObject({ kind: z.literal("channel") }),
  z.strictObject({ kind: z.literal("token") }),
  z.strictObject({ kind: z.literal("element") }),
  z.strictObject({ kind: z.literal("group"), size: z.int().min(1).max(1 << 20) }),
  z.strictObject({
    kind: z.literal("block"),
    rows: z.int().min(1).max(1 << 20),
    columns: z.int().min(1).max(1 << 20),
  }),
]);

/**
 * The tiling of a matrix into regions that share a scale: `[gridRows, gridColumns]` scales, each
 * for `tileRows` x `tileColumns` elements (fewer at the edges). Every granularity is one of these.
 */
export interface Tiling {
  /** Rows of the matrix. */
  rows: number;
  /** Columns of the matrix. */
  columns: number;
  /** Rows of a tile. */
  tileRows: number;
  /** Columns of a tile. */
  tileColumns: number;
  /** Rows of the grid of scales: `ceil(rows / tileRows)`. */
  gridRows: number;
  /** Columns of the grid of scales: `ceil(columns / tileColumns)`. */
  gridColumns: number;
}

/**
 * The tiling of a `[rows, columns]` matrix by a granularity.
 *
 * @example
 * ```ts
 * import { tiling } from "./granularity.ts";
 * const t = tiling({ kind: "group", size: 128 }, 2, 576);
 * [t.gridRows, t.gridColumns]; // [2, 5]: the fifth group has 64 columns
 * ```
 */
export function tiling(granularity: Granularity, rows: number, columns: number): Tiling {
  for (const [field, value] of Object.entries({ rows, columns })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new LowbitError("SHAPE", `must be a whole number, not ${value}`, { field });
    }
  }
  const [tileRows, tileColumns] = tile(granularity, rows, columns);
  return {
    rows,
    columns,
    tileRows,
    tileColumns,
    gridRows: Math.ceil(rows / tileRows),
    gridColumns: Math.ceil(columns / tileColumns),
  };
}

function tile(g: Granularity, rows: number, columns: number): [number, number] {
  switch (g.kind) {
    case "tensor":
      return [Math.max(1, rows), Math.max(1, columns)];
    case "channel":
    case "token":
      return [1, Math.max(1, columns)];
    case "group":
      return [1, g.size];
    case "element":
      return [1, 1];
    case "block":
      return [g.rows, g.columns];
  }
}

/**
 * The granularity in a few characters: `tensor`, `channel`, `g64`, `b128x128`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { granularityLabel } from "./granularity.ts";
 * assertEquals(granularityLabel({ kind: "group", size: 64 }), "g64");
 * assertEquals(granularityLabel({ kind: "block", rows: 128, columns: 128 }), "b128x128");
 * ```
 */
export function granularityLabel(g: Granularity): string {
  if (g.kind === "group") return `g${g.size}`;
  if (g.kind === "block") return `b${g.rows}x${g.columns}`;
  return g.kind;
}

/**
 * Whether tiles divide the matrix: no short group or block at an edge.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { divides, tiling } from "./granularity.ts";
 * assert(divides(tiling({ kind: "group", size: 64 }, 2, 576)));
 * assert(!divides(tiling({ kind: "group", size: 128 }, 2, 576))); // the last group has 64 columns
 * ```
 */
export function divides(t: Tiling): boolean {
  return t.rows % t.tileRows === 0 && t.columns % t.tileColumns === 0;
}
