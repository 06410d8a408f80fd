/**
 * A format with other bits: what the slider of the explorer does to the YAML.
 *
 * @module
 */

/** The value of a top-level key, as text. */
function value(yaml: string, key: string): string | undefined {
  return new RegExp(`^${key}:[ \\t]*(\\S+)`, "m").exec(yaml)?.[1];
}

function replace(yaml: string, key: string, text: string): string {
  return yaml.replace(new RegExp(`^(${key}:[ \\t]*)\\S+`, "m"), `$1${text}`);
}

/**
 * The YAML of a format with so many bits: of a sibling in the catalog, or edited. Floats keep their
 * exponent as long as there is room for it; a scheme gets a sibling of its element. Undefined where
 * bits alone say nothing, as for tables of values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { withBits } from "./bits.ts";
 * const catalog = { int4: "id: int4\nfamily: int\nbits: 4\n", int5: "id: int5\nfamily: int\nbits: 5\n" };
 * assertEquals(withBits(catalog.int4, 5, catalog), catalog.int5);
 * const float = "id: f\nfamily: float\nbits: 8\nexponent: 4\nmantissa: 3\nbias: 7\n";
 * assertEquals(
 *   withBits(float, 6, {}),
 *   "id: f_6\nfamily: float\nbits: 6\nexponent: 4\nmantissa: 1\nbias: 7\n",
 * );
 * assertEquals(withBits("id: x\nfamily: codebook\nbits: 1\nvalues: [0, 1]\n", 2, {}), undefined);
 * ```
 */
export function withBits(
  yaml: string,
  bits: number,
  catalog: Readonly<Record<string, string>>,
): string | undefined {
  const id = value(yaml, "id") ?? "mine";
  const element = value(yaml, "element");
  if (element !== undefined) {
    const other = element.replace(/\d+(?=\D*$)/, String(bits));
    if (!catalog[other] || other === element) return undefined;
    return replace(
      replace(yaml, "id", `${id.replace(/_\d+bits$/, "")}_${bits}bits`),
      "element",
      other,
    )
      .replace(/^expect:.*\n(?:[ \t]+.*\n?)*/m, "");
  }
  const before = value(yaml, "bits");
  const sibling = before && id.replace(new RegExp(`${before}(?=$|_k\\d)`), String(bits));
  if (sibling && sibling !== id && catalog[sibling] && yaml === catalog[id]) {
    return catalog[sibling];
  }
  const family = value(yaml, "family");
  const known = ["int", "generated", "float", "lookup"];
  if (before === undefined || !known.includes(family ?? "")) return undefined;
  const base = id.replace(/_\d+$/, "").replace(new RegExp(`${before}$`), "");
  let edited = replace(replace(yaml, "id", `${base}_${bits}`), "bits", String(bits));
  // Facts that held for the old bits do not hold for others.
  edited = edited.replace(/^expect:.*\n(?:[ \t]+.*\n?)*/m, "");
  if (family !== "float") return edited;
  const sign = value(yaml, "signed") === "false" ? 0 : 1;
  const exponent = Math.min(Number(value(yaml, "exponent")), bits - sign);
  if (exponent < 1) return undefined;
  edited = replace(edited, "exponent", String(exponent));
  return replace(edited, "mantissa", String(bits - sign - exponent));
}

/** Bits of a code, as the YAML says; of the element, for a scheme. */
export function bitsOf(yaml: string): number {
  const element = value(yaml, "element");
  if (element !== undefined) return Number(/(\d+)\D*$/.exec(element)?.[1] ?? NaN);
  return Number(value(yaml, "bits") ?? NaN);
}
