/**
 * Checking anyone's number format: that its codes, its cast and its kernels agree.
 *
 * @module
 */

import { type Kernels, LowbitError, type NumberFormat } from "../spec/mod.ts";
import { formatFacts } from "./facts.ts";
import { decodeElement, decodeTable, encodeElement } from "./reference.ts";
import { elementEncoder, finiteCodes, keyToFloat, stepTable } from "./steps.ts";

/** One line of the report. */
export interface Check {
  /** What was checked. */
  name: string;
  /** Whether it holds. */
  ok: boolean;
  /** How many cases, or what went wrong. */
  detail: string;
}

/**
 * Checks a number format of 8 bits or fewer: every code round-trips, casting is monotone, the facts
 * of `expect` hold, and the kernels equal the reference at every step of the cast and both
 * neighbours, and on random bits.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { referenceKernels } from "../kernels-wasm/reference.ts";
 * import { checkFormat } from "./check_format.ts";
 * import { numberFormat } from "./lookup.ts";
 * const checks = checkFormat(referenceKernels(), numberFormat("float4_e2m1fn"));
 * assert(checks.every(({ ok }) => ok));
 * ```
 */
export function checkFormat(kernels: Kernels, format: NumberFormat): Check[] {
  if (format.bits > 8) {
    throw new LowbitError("FORMAT", `has ${format.bits} bits; formats of 8 or fewer are checked`, {
      field: format.id,
    });
  }
  return [
    roundTrips(format),
    monotone(format),
    ...expectations(format),
    kernelsAgree(kernels, format),
  ];
}

function check(name: string, problems: string[], cases: number): Check {
  return {
    name,
    ok: problems.length === 0,
    detail: problems.length === 0
      ? `${cases} cases`
      : `${problems.slice(0, 3).join("; ")}${problems.length > 3 ? "; ..." : ""}`,
  };
}

/**
 * A line of a report on matrices of several sizes: the first problem, or how many were tried.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrixCheck } from "./check_format.ts";
 * assertEquals(matrixCheck("holds", [], 3), { name: "holds", ok: true, detail: "3 matrices" });
 * assertEquals(matrixCheck("holds", [], 0).ok, false);
 * ```
 */
export function matrixCheck(name: string, problems: string[], tried: number): Check {
  return {
    name,
    ok: problems.length === 0 && tried > 0,
    detail: tried === 0 ? "holds none of the sizes tried" : problems[0] ?? `${tried} matrices`,
  };
}

/** Every finite value is its own nearest; codes that repeat a value may give way to each other. */
function roundTrips(format: NumberFormat): Check {
  const codes = finiteCodes(format);
  const problems = codes.flatMap((code) => {
    const value = decodeElement(format, code);
    const back = decodeElement(format, encodeElement(format, value));
    return back === value ? [] : [`code ${code} means ${value}, which becomes ${back}`];
  });
  return check("every code round-trips", problems, codes.length);
}

/** A larger number never becomes a smaller value: walks the steps of the cast. */
function monotone(format: NumberFormat): Check {
  const { thresholds, codes } = stepTable(format);
  const problems: string[] = [];
  let last = -Infinity;
  for (let i = 0; i < codes.length; i++) {
    const from = i === 0 ? NaN : keyToFloat(thresholds[i - 1] + 1);
    const value = decodeElement(format, codes[i]);
    if (Number.isNaN(from) || !Number.isFinite(value) || !Number.isFinite(from)) continue;
    if (value < last) problems.push(`from ${from} on, values fall from ${last} to ${value}`);
    last = value;
  }
  return check("casting is monotone", problems, codes.length);
}

function expectations(format: NumberFormat): Check[] {
  const { expect } = format;
  if (!expect) return [];
  const facts = formatFacts(format);
  const problems: string[] = [];
  const same = (what: string, actual: number, wanted: number) => {
    if (!Object.is(actual, wanted)) problems.push(`${what} is ${actual}, expected ${wanted}`);
  };
  if (expect.largest !== undefined) same("largest", facts.largest, expect.largest);
  if (expect.smallest !== undefined) same("smallest", facts.smallest, expect.smallest);
  if (expect.values !== undefined) same("values", facts.values, expect.values);
  const { decode = [], encode = [] } = expect;
  for (const [code, value] of decode) {
    same(`code ${code}`, decodeElement(format, code), Math.fround(value));
  }
  for (const [value, code] of encode) {
    same(`the code of ${value}`, encodeElement(format, value), code);
  }
  const cases = decode.length + encode.length +
    Object.values(expect).filter((fact) => typeof fact === "number").length;
  return [check("expected facts hold", problems, cases)];
}

/** Random inputs, beside the neighbours of every step. */
const RANDOM = 20_000;

function kernelsAgree(kernels: Kernels, format: NumberFormat): Check {
  const inputs = probes(format);
  const count = inputs.length;
  const tiling = { rows: 1, columns: count, tileRows: 1, tileColumns: count };
  const grid = { ...tiling, gridRows: 1, gridColumns: 1 };
  using x = kernels.upload(inputs);
  using codes = kernels.alloc("u8", count);
  using y = kernels.alloc("f32", count);
  const table = decodeTable(format);
  using values = kernels.upload(table);
  kernels.encode({ x, codes, tiling: grid, apply: "divide", encoder: elementEncoder(format) });
  kernels.decode({ codes, y, tiling: grid, table: values });
  const [got, back] = [codes.array.slice(), y.array.slice()];
  const problems: string[] = [];
  inputs.forEach((input, i) => {
    const wanted = encodeElement(format, input);
    if (got[i] !== wanted) problems.push(`${input} became ${got[i]}, not ${wanted}`);
    else if (!Object.is(back[i], table[wanted])) problems.push(`code ${wanted} became ${back[i]}`);
  });
  return check(`kernels (${kernels.name}) equal the reference`, problems, count);
}

/** Numbers at every step of the cast with both neighbours, and any numbers. */
function probes(format: NumberFormat): Float32Array {
  const inputs: number[] = [];
  for (const threshold of stepTable(format).thresholds) {
    for (const key of [threshold - 1, threshold, threshold + 1]) {
      if (key >= 0 && key <= 0xffffffff) inputs.push(keyToFloat(key));
    }
  }
  // A Weyl sequence covers all bit patterns evenly, the same ones each time.
  for (let i = 0; i < RANDOM; i++) inputs.push(keyToFloat(Math.imul(i, 0x9e3779b1) >>> 0));
  return Float32Array.from(inputs.filter((input) => !Number.isNaN(input)));
}
