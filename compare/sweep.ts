/**
 * Sweeps: every combination of some settings, as names of preset recipes.
 *
 * @module
 */

import { LowbitError, unknownName } from "../spec/mod.ts";

const SETTINGS = ["method", "bits", "activations", "group", "zero"] as const;
const MOST = 1000;

/**
 * The names in a sweep such as `bits=2,3,4 group=32,64 method=rtn,gptq`. `group=channel` leaves the
 * group out, `zero` is `sym` or `asym`, `activations` are bits. `method` is `rtn` if it is absent.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sweepNames } from "./sweep.ts";
 * assertEquals(sweepNames("bits=3,4 group=64 method=rtn,gptq"), [
 *   "rtn-w3g64",
 *   "rtn-w4g64",
 *   "gptq-w3g64",
 *   "gptq-w4g64",
 * ]);
 * ```
 */
export function sweepNames(text: string): string[] {
  const given = new Map<string, string[]>();
  for (const part of text.trim().split(/\s+/)) {
    const [key, values = ""] = part.split("=");
    if (!(SETTINGS as readonly string[]).includes(key)) {
      throw unknownName("setting of --sweep", key, [...SETTINGS]);
    }
    const list = values.split(",").filter((value) => value !== "");
    if (list.length === 0) throw wrong(key, "has no values; write them as bits=3,4");
    if (given.has(key)) throw wrong(key, "is given twice");
    given.set(key, list);
  }
  const bits = given.get("bits");
  if (!bits) throw wrong("bits", "is missing; write them as bits=3,4");
  for (const key of ["bits", "activations"]) check(given, key, /^[1-9]\d*$/, "a whole number");
  check(given, "group", /^([1-9]\d*|channel)$/, "a whole number or channel");
  check(given, "zero", /^a?sym$/, "sym or asym");
  const lists = SETTINGS.map((key) => given.get(key) ?? [key === "method" ? "rtn" : ""]);
  const names = lists.reduce<string[][]>(
    (rows, list) => rows.flatMap((row) => list.map((value) => [...row, value])),
    [[]],
  ).map(([method, bits, activations, group, zero]) =>
    `${method}-w${bits}${activations && `a${activations}`}` +
    `${group && group !== "channel" ? `g${group}` : ""}${zero && `-${zero}`}`
  );
  if (names.length > MOST) throw wrong("", `makes ${names.length} recipes; at most ${MOST} fit`);
  return [...new Set(names)];
}

function check(given: Map<string, string[]>, key: string, pattern: RegExp, wanted: string): void {
  const bad = given.get(key)?.find((value) => !pattern.test(value));
  if (bad !== undefined) throw wrong(key, `must be ${wanted}, not ${JSON.stringify(bad)}`);
}

function wrong(key: string, problem: string): LowbitError {
  return new LowbitError("USAGE", `--sweep: ${key} ${problem}`, {
    advice: 'as in --sweep "bits=2,3,4 group=32,64 method=rtn,gptq"',
  });
}
