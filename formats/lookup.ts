/**
 * Looking up formats, schemes and layouts by id; the catalog is checked once, when it is first
 * used.
 *
 * @module
 */

import {
  type Granularity,
  granularityLabel,
  type Layout,
  layoutSchema,
  LowbitError,
  type NumberFormat,
  numberFormatSchema,
  type ResolvedScheme,
  type Scheme,
  type SchemeReference,
  schemeSchema,
  unknownName,
  type VectorFormat,
  vectorFormatSchema,
} from "../spec/mod.ts";
import { LAYOUTS, NUMBER_FORMATS, SCHEMES, VECTOR_FORMATS } from "./catalog.ts";

/** A read-only set of named things. */
export interface Catalog<T> {
  /** The ids, sorted. */
  ids(): string[];
  /** The thing with this id; `UNKNOWN_NAME` with the closest id if there is none. */
  get(id: string): T;
  /** Whether there is one. */
  has(id: string): boolean;
}

function catalog<T extends { id: string }>(
  kind: string,
  documents: readonly unknown[],
  parse: (document: unknown) => T,
): Catalog<T> {
  let entries: Map<string, T> | undefined;
  const load = () =>
    entries ??= new Map(documents.map(parse).map((entry) => [entry.id, entry] as const));
  return {
    ids: () => [...load().keys()].sort(),
    has: (id) => load().has(id),
    get(id) {
      const entry = load().get(id);
      if (entry) return entry;
      throw unknownName(kind, id, load().keys(), {
        advice: "`lowbit formats list` shows them all",
      });
    },
  };
}

/**
 * The shipped number formats.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numberFormats } from "./lookup.ts";
 * assertEquals(numberFormats.ids().includes("nf4"), true);
 * assertEquals(numberFormats.get("nf4").bits, 4);
 * ```
 */
export const numberFormats: Catalog<NumberFormat> = catalog(
  "number format",
  NUMBER_FORMATS,
  (document) => numberFormatSchema.parse(document),
);

/**
 * The shipped schemes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { schemes } from "./lookup.ts";
 * assertEquals(schemes.has("int4_g64_sym"), true);
 * assertEquals(schemes.get("mxfp4").granularity, { kind: "group", size: 32 });
 * ```
 */
export const schemes: Catalog<Scheme> = catalog(
  "scheme",
  SCHEMES,
  (document) => schemeSchema.parse(document),
);

/**
 * The shipped layouts.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layouts } from "./lookup.ts";
 * const dense = layouts.ids().filter((id) => layouts.get(id).bits.includes(3));
 * assertEquals(dense.includes("lowbit_dense"), true);
 * ```
 */
export const layouts: Catalog<Layout> = catalog(
  "layout",
  LAYOUTS,
  (document) => layoutSchema.parse(document),
);

/**
 * The shipped vector formats.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormats } from "./lookup.ts";
 * assertEquals(vectorFormats.get("e8p").family, "grid");
 * ```
 */
export const vectorFormats: Catalog<VectorFormat> = catalog(
  "vector format",
  VECTOR_FORMATS,
  (document) => vectorFormatSchema.parse(document),
);

/** Formats and schemes that a user brings, by id; their ids are never those of the catalog. */
export interface UserFormats {
  /** Number formats. */
  numbers: ReadonlyMap<string, NumberFormat>;
  /** Schemes. */
  schemes: ReadonlyMap<string, Scheme>;
  /** Vector formats. */
  vectors: ReadonlyMap<string, VectorFormat>;
  /** Layouts; for checks of them. */
  layouts: ReadonlyMap<string, Layout>;
}

const NO_USER_FORMATS: UserFormats = {
  numbers: new Map(),
  schemes: new Map(),
  vectors: new Map(),
  layouts: new Map(),
};

/**
 * The number format with this id.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { LowbitError } from "../spec/mod.ts";
 * import { numberFormat } from "./lookup.ts";
 * assertEquals(numberFormat("int4").family, "int");
 * assertThrows(() => numberFormat("int44"), LowbitError, 'did you mean "int4"?');
 * ```
 */
export function numberFormat(id: string): NumberFormat {
  return numberFormats.get(id);
}

/**
 * The scheme with this id.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { scheme } from "./lookup.ts";
 * const { element, scale } = scheme("mxfp4");
 * assertEquals([element, scale.rule], ["float4_e2m1fn", "mx_floor"]);
 * ```
 */
export function scheme(id: string): Scheme {
  return schemes.get(id);
}

/**
 * The vector format with this id, number formats looked up.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { vectorFormat } from "./lookup.ts";
 * const format = vectorFormat("ovp4_flint");
 * assertEquals(format.family === "pair" && typeof format.normal, "object");
 * ```
 */
export function vectorFormat(id: string): VectorFormat {
  return resolveVectorFormat(vectorFormats.get(id));
}

/**
 * A vector format with every number format in it looked up. Error: `UNKNOWN_NAME`.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "../spec/mod.ts";
 * import { resolveVectorFormat, vectorFormats } from "./lookup.ts";
 * const format = { ...vectorFormats.get("lut4_channel"), entries: "float61" };
 * assertThrows(() => resolveVectorFormat(format), LowbitError, "float61");
 * ```
 */
export function resolveVectorFormat(
  format: VectorFormat,
  user: UserFormats = NO_USER_FORMATS,
): VectorFormat {
  const number = (reference: string | NumberFormat): NumberFormat => {
    if (typeof reference !== "string") return reference;
    return user.numbers.get(reference) ?? numberFormat(reference);
  };
  if ("entries" in format) checkStored(format.entries, format.id, "entries");
  if ("scale" in format && format.scale) checkStored(format.scale.format, format.id, "scale");
  if (format.family === "pair") {
    return { ...format, normal: number(format.normal), outlier: number(format.outlier) };
  }
  if (format.family === "grid" && format.points.kind === "product") {
    return { ...format, points: { ...format.points, element: number(format.points.element) } };
  }
  return format;
}

/** Tables and scales are stored as plain floats, or as codes of a byte. */
function checkStored(id: string, file: string, field: string): void {
  if (id === "float32" || id === "float16" || id === "bfloat16") return;
  if (numberFormat(id).bits <= 8) return;
  throw new LowbitError("FORMAT", `numbers of ${id} cannot be stored in tables or scales`, {
    file,
    field,
    advice: "use float32, float16, bfloat16 or a number format of 8 bits or fewer",
  });
}

/**
 * The layout with this id.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { layout } from "./lookup.ts";
 * assertEquals(layout("ggml_q4_0").parts?.map(({ part }) => part), ["scale"]);
 * ```
 */
export function layout(id: string): Layout {
  return layouts.get(id);
}

/**
 * Looks up everything that a reference to a scheme names.
 *
 * @example
 * ```ts
 * import { resolveScheme } from "./lookup.ts";
 * resolveScheme("mxfp4").element.bits; // 4
 * resolveScheme({ base: "int4_g64_asym", granularity: { kind: "group", size: 48 } }).id;
 * // "uint4_g48_asym"
 * ```
 */
export function resolveScheme(
  reference: SchemeReference,
  user: UserFormats = NO_USER_FORMATS,
): ResolvedScheme {
  const find = (id: string) => user.schemes.get(id) ?? scheme(id);
  if (typeof reference === "string") {
    if (user.schemes.has(reference) || schemes.has(reference)) {
      return resolve(find(reference), user);
    }
    // Weights of recipes name schemes and vector formats alike.
    const known = [user.schemes, user.vectors].flatMap((ids) => [...ids.keys()]);
    throw unknownName("scheme", reference, [...schemes.ids(), ...vectorFormats.ids(), ...known], {
      advice: "`lowbit formats list` shows them all",
    });
  }
  if (!("base" in reference)) return resolve(reference, user);
  const base = find(reference.base);
  const varied: Scheme = {
    ...base,
    element: reference.element ?? base.element,
    granularity: reference.granularity ?? base.granularity,
    tail: reference.tail ?? base.tail,
    ...(reference.timing && { timing: reference.timing }),
    scale: { ...base.scale, format: reference.scale_format ?? base.scale.format },
  };
  const id = variantId(varied, varied.granularity);
  return resolve({ ...varied, id, summary: `${base.summary}, varied` }, user);
}

/** A name made of the parts, for schemes that have none of their own. */
function variantId(varied: Scheme, granularity: Granularity): string {
  const element = typeof varied.element === "string" ? varied.element : varied.element.id;
  const symmetry = varied.zero_point ? "asym" : "sym";
  const suffix = varied.scale.format === "float32" ? "" : `_${varied.scale.format}`;
  const timing = varied.timing === "static" ? "_static" : "";
  return `${element}_${granularityLabel(granularity)}_${symmetry}${suffix}${timing}`;
}

function resolve(document: Scheme, user: UserFormats): ResolvedScheme {
  const element = typeof document.element === "string"
    ? user.numbers.get(document.element) ?? numberFormat(document.element)
    : document.element;
  if (element.bits > 8) {
    throw new LowbitError("FORMAT", `elements of ${element.bits} bits are not codes`, {
      field: document.id,
      advice: "use a number format of 8 bits or fewer",
    });
  }
  if (document.zero_point?.kind === "int") {
    const plain = element.family === "int" && !element.signed && element.fraction === 0 &&
      element.cast.rounding === "nearest_even";
    if (!plain) {
      throw new LowbitError("FORMAT", "an integer zero point needs an unsigned integer element", {
        field: document.id,
        advice: "use uint2 to uint8",
      });
    }
  }
  if (document.scale.format !== "float32") numberFormat(document.scale.format);
  return {
    ...document,
    element: document.cast ? { ...element, cast: { ...element.cast, ...document.cast } } : element,
  };
}
