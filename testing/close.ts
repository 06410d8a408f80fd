/**
 * Whether two values are equal but for rounding.
 *
 * @module
 */

/** Undefined where two values agree within `tolerance`; else where and how they differ. */
export function closeTo(
  a: unknown,
  b: unknown,
  tolerance = 1e-5,
  path = "value",
): string | undefined {
  if (typeof a === "number" && typeof b === "number") {
    const scale = Math.max(Math.abs(a), Math.abs(b));
    if (Object.is(a, b) || Math.abs(a - b) <= tolerance * scale) return undefined;
    return `${path}: ${a} and ${b}`;
  }
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) {
    return typeof a === "function" || a === b ? undefined : `${path}: ${a} and ${b}`;
  }
  const [left, right] = [entries(a), entries(b)];
  if (left.length !== right.length) return `${path}: ${left.length} and ${right.length} entries`;
  for (const [i, [key, value]] of left.entries()) {
    const difference = closeTo(value, right[i][1], tolerance, `${path}.${key}`);
    if (difference) return difference;
  }
  return undefined;
}

function entries(value: object): [string, unknown][] {
  if (value instanceof Map) return [...value].map(([key, item]) => [String(key), item]);
  return Object.entries(value);
}
