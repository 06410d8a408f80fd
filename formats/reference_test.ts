import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type Cast, LowbitError, type NumberFormat, numberFormatSchema } from "../spec/mod.ts";
import { seededRng } from "../engine/rng.ts";
import { numberFormat, numberFormats } from "./lookup.ts";
import {
  bitsToFloat,
  decodeElement,
  decodeTable,
  encodeElement,
  encodeNan,
  exponentOf,
  floatBits,
  largestFinite,
} from "./reference.ts";
import {
  applyEncoder,
  elementEncoder,
  finiteCodes,
  keyToFloat,
  orderKey,
  stepTable,
} from "./steps.ts";

const all = numberFormats.ids().map(numberFormat);
const small = all.filter((format) => format.bits <= 8);

Deno.test("NaNs keep their sign where the oracle keeps it", () => {
  // ml_dtypes: quiet NaN with the sign of the input.
  assertEquals(
    encodeNan(numberFormat("float8_e4m3fn"), numberFormat("float8_e4m3fn").cast, false),
    0x7f,
  );
  assertEquals(
    encodeNan(numberFormat("float8_e4m3fn"), numberFormat("float8_e4m3fn").cast, true),
    0xff,
  );
  assertEquals(
    encodeNan(numberFormat("float8_e5m2"), numberFormat("float8_e5m2").cast, true),
    0xfe,
  );
  assertEquals(encodeNan(numberFormat("bfloat16"), numberFormat("bfloat16").cast, false), 0x7fc0);
});

Deno.test("every code of every format round-trips", () => {
  for (const format of all) {
    for (let code = 0; code < 2 ** format.bits; code++) {
      const value = decodeElement(format, code);
      if (Number.isNaN(value)) continue;
      const back = encodeElement(format, value);
      // -0 may become 0, and bfloat16 infinities and NaNs aside, every code is its own.
      if (Object.is(value, -0) && format.cast.negative_zero !== "keep") {
        assertEquals(decodeElement(format, back), 0);
      } else if (format.family === "codebook" && format.repeats) {
        assertEquals(decodeElement(format, back), value, `${format.id}, code ${code}`);
        assert(back <= code);
      } else assertEquals(back, code, `${format.id}, code ${code}, value ${value}`);
    }
  }
});

Deno.test("step tables equal the reference at every threshold and both neighbours", () => {
  for (const format of small) {
    const table = stepTable(format);
    const encoder = elementEncoder(format);
    const lenient = {
      ...format.cast,
      nan: format.cast.nan === "refuse" ? "zero" : format.cast.nan,
    };
    const keys = new Set<number>();
    for (const threshold of table.thresholds) {
      for (const key of [threshold - 1, threshold, threshold + 1]) {
        if (key >= 0 && key <= 0xffffffff) keys.add(key);
      }
    }
    for (const key of keys) {
      const x = keyToFloat(key);
      if (Number.isNaN(x)) continue;
      const expected = encodeElement(format, x, lenient as NumberFormat["cast"]);
      assertEquals(applyEncoder(table, x), expected, `${format.id} of ${x}`);
      assertEquals(applyEncoder(encoder, x), expected, `${format.id} of ${x}`);
    }
  }
});

Deno.test("step tables equal the reference on any f32", () => {
  for (const format of small) {
    const encoder = elementEncoder(format);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (bits) => {
        const x = bitsToFloat(bits);
        if (Number.isNaN(x)) return;
        assertEquals(applyEncoder(encoder, x), encodeElement(format, x));
      }),
      { numRuns: 300, seed: 1 },
    );
  }
});

Deno.test("codes are monotone in the value, and the error is at most half a step", () => {
  for (const format of small.filter((f) => f.id !== "float8_e8m0fnu")) {
    const codes = finiteCodes(format);
    const values = codes.map((code) => decodeElement(format, code));
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (position) => {
        const [lo, hi] = [values[0], values[values.length - 1]];
        const x = Math.fround(lo + position * (hi - lo));
        const y = decodeElement(format, encodeElement(format, x));
        const above = values.findIndex((v) => v >= x);
        const step = above > 0 ? values[above] - values[above - 1] : 0;
        assert(Math.abs(x - y) <= step / 2 * (1 + 1e-6), `${format.id}: ${x} became ${y}`);
      }),
      { numRuns: 200, seed: 2 },
    );
  }
});

Deno.test("a larger number never becomes a smaller value, for any two f32 and any rounding", () => {
  const roundings = ["half_away", "half_toward_zero", "half_up", "half_down", "toward_zero", "up"];
  const number = fc.integer({ min: 0, max: 0xffffffff }).map(bitsToFloat)
    .filter((x) => Number.isFinite(x));
  for (const format of small) {
    // Zero and negatives of unsigned floats have codes of their own kind; NaN is not ordered.
    const casts = [format.cast, ...roundings.map((rounding) => ({ ...format.cast, rounding }))];
    const top = Math.fround(largestFinite(format) * 1.1);
    const near = fc.double({ min: -top, max: top, noNaN: true }).map(Math.fround);
    const any = fc.oneof(number, near);
    fc.assert(
      fc.property(any, any, fc.constantFrom(...casts), (x, y, cast) => {
        if (cast.rounding !== "biased_floor" && format.cast.rounding === "biased_floor") return;
        const [a, b] = [Math.min(x, y), Math.max(x, y)].map((v) =>
          decodeElement(format, encodeElement(format, v, cast as NumberFormat["cast"]))
        );
        assert(!(a > b), `${format.id}, ${cast.rounding}: ${x} and ${y} become ${a} and ${b}`);
      }),
      { numRuns: 200, seed: 3 },
    );
  }
});

Deno.test("facts of the formats", () => {
  const largest = {
    float8_e4m3fn: 448,
    float8_e5m2: 57344,
    float4_e2m1fn: 6,
    float16: 65504,
    int8: 127,
    uint4: 15,
    nf4: 1,
    float8_e8m0fnu: 2 ** 127,
  };
  for (const [id, value] of Object.entries(largest)) {
    assertEquals(largestFinite(numberFormat(id)), value);
  }
});

Deno.test("roundings at a tie and beside it", () => {
  const e2m1 = numberFormat("float4_e2m1fn");
  const at = (x: number, rounding: NumberFormat["cast"]["rounding"]) =>
    decodeElement(e2m1, encodeElement(e2m1, x, { ...e2m1.cast, rounding }));
  assertEquals([2.5, 3.5, 5, -5].map((x) => at(x, "nearest_even")), [2, 4, 4, -4]);
  assertEquals([2.5, 3.5, 5, -5].map((x) => at(x, "half_away")), [3, 4, 6, -6]);
  assertEquals([2.5, 3.5, 5, -5].map((x) => at(x, "half_toward_zero")), [2, 3, 4, -4]);
  assertEquals([2.5, 3.5, 5, -5].map((x) => at(x, "half_up")), [3, 4, 6, -4]);
  assertEquals([2.5, 3.5, 5, -5].map((x) => at(x, "half_down")), [2, 3, 4, -6]);
  assertEquals([2.9, -2.9].map((x) => at(x, "toward_zero")), [2, -2]);
  assertEquals([2.1, -2.9].map((x) => at(x, "up")), [3, -2]);
  assertEquals([2.9, -2.1].map((x) => at(x, "down")), [2, -3]);
  // The number just below a half must not be rounded up by floor(x + 0.5) in f32.
  assertEquals(encodeElement(numberFormat("ggml_int8"), 0.49999997), 0);
});

Deno.test("stochastic rounding is unbiased, and exact numbers stay", () => {
  const random = seededRng("stochastic");
  for (const [id, x] of [["float4_e2m1fn", 2.3], ["int4", -3.8], ["nf4", 0.12]] as const) {
    const format = numberFormat(id);
    const cast = { ...format.cast, rounding: "stochastic" as const };
    let sum = 0;
    const draws = 100_000;
    for (let i = 0; i < draws; i++) {
      sum += decodeElement(format, encodeElement(format, x, cast, random.uniform()));
    }
    assert(Math.abs(sum / draws - x) < 0.01, `${id}: ${sum / draws} for ${x}`);
    assertEquals(decodeElement(format, encodeElement(format, 0, cast, 0.999)), 0);
    const error = assertThrows(() => encodeElement(format, x, cast), LowbitError);
    assertEquals(error.code, "FORMAT");
  }
});

Deno.test("integers wrap modulo 2^bits where the cast says so", () => {
  const int4 = numberFormat("int4");
  const cast = { ...int4.cast, overflow: "wrap" as const };
  const wrapped = [7, 8, 9, -8, -9, 23].map((x) =>
    decodeElement(int4, encodeElement(int4, x, cast))
  );
  assertEquals(wrapped, [7, -8, -7, -8, 7, 7]);
  assertThrows(() => elementEncoder({ ...int4, cast }), LowbitError, "no step function");
});

Deno.test("codebooks round in a direction as well", () => {
  const nf4 = numberFormat("nf4");
  const at = (x: number, rounding: NumberFormat["cast"]["rounding"]) =>
    decodeElement(nf4, encodeElement(nf4, x, { ...nf4.cast, rounding }));
  assertEquals(at(0.01, "up"), Math.fround(0.07958029955625534));
  assertEquals([at(0.07, "down"), at(0.07, "toward_zero"), at(-0.08, "toward_zero")], [0, 0, 0]);
});

Deno.test("float16 between neighbours: as the engine's own float16", () => {
  const format = numberFormat("float16");
  for (let code = 0; code < 0x7bff; code += 7) {
    const [low, high] = [code, code + 1].map((c) => decodeElement(format, c));
    for (const part of [0.25, 0.5, 0.5000001, 0.75]) {
      const x = Math.fround(low + (high - low) * part);
      assertEquals(decodeElement(format, encodeElement(format, x)), new Float16Array([x])[0]);
    }
  }
  assertEquals(encodeElement(format, 65519.99), 0x7bff);
  assertEquals(encodeElement(format, 65520), 0x7c00);
});

Deno.test("NaN is refused where the cast says so", () => {
  const error = assertThrows(() => encodeElement(numberFormat("int4"), NaN), LowbitError);
  assertEquals(error.code, "NON_FINITE");
});

Deno.test("order keys are monotone and invertible", () => {
  const ascending = [-Infinity, -3, -1e-45, -0, 0, 1e-45, 3, Infinity];
  const keys = ascending.map((x) => orderKey(floatBits(x)));
  assertEquals(keys, [...keys].sort((a, b) => a - b));
  ascending.forEach((x, i) => assert(Object.is(keyToFloat(keys[i]), Math.fround(x))));
  assertEquals([1, 1.5, 0.75, 2 ** -126, 2 ** -149, 2 ** -140 * 1.5].map((x) => exponentOf(x)), [
    0,
    0,
    -1,
    -126,
    -149,
    -140,
  ]);
});

Deno.test("bad number formats are refused with the field", () => {
  const cases: [string, object, string][] = [
    ["bits", { family: "float", bits: 8, exponent: 3, mantissa: 3, bias: 3 }, "add up to 7"],
    ["bits", { family: "int", bits: 0, signed: true }, "1"],
    ["bits", { family: "int", bits: 40, signed: true }, "16"],
    ["range", { family: "int", bits: 4, signed: false, range: "symmetric" }, "symmetric"],
    ["values", { family: "codebook", bits: 1, values: [0, 1, 2] }, "2^1"],
    ["values", { family: "codebook", bits: 2, values: [0, 0, 1] }, "duplicate"],
    ["values", { family: "codebook", bits: 2, values: [0, 1e40] }, "finite"],
    ["bitz", { family: "int", bits: 4, signed: true, bitz: 3 }, "unknown field"],
    ["cast", { family: "int", bits: 4, signed: true, cast: { overflow: "nan" } }, "no NaN"],
  ];
  for (const [field, fields, text] of cases) {
    const document = { id: "x", summary: "x", ...fields };
    const error = assertThrows(
      () => numberFormatSchema.parse(document, "x.yaml"),
      LowbitError,
      text,
    );
    assertEquals([error.code, error.file, error.field?.split(".")[0]], ["SCHEMA", "x.yaml", field]);
  }
});

Deno.test("policies: negatives in unsigned formats, zero where there is none, -0", () => {
  const e8m0 = numberFormat("float8_e8m0fnu");
  const e8m0With = (cast: Partial<Cast>) => ({ ...e8m0.cast, ...cast });
  assertEquals(encodeElement(e8m0, -2), 255, "NaN, as ml_dtypes");
  assertEquals(encodeElement(e8m0, -2, e8m0With({ negative: "absolute" })), 128, "as torch");
  assertEquals(encodeElement(e8m0, 0), 255, "NaN, as ml_dtypes");
  assertEquals(encodeElement(e8m0, 0, e8m0With({ zero: "smallest" })), 0, "2^-127, as torch");
  assertEquals(encodeElement(e8m0, -2, e8m0With({ negative: "zero", zero: "smallest" })), 0);
  const uint4 = numberFormat("uint4");
  assertEquals(encodeElement(uint4, -3), 0);
  assertEquals(encodeElement(uint4, -3, { ...uint4.cast, negative: "absolute" }), 3);
  const e2m1 = numberFormat("float4_e2m1fn");
  const signs = (negative_zero: Cast["negative_zero"]) =>
    [-0, -0.1, 0.1].map((x) => encodeElement(e2m1, x, { ...e2m1.cast, negative_zero }));
  assertEquals(signs("keep"), [8, 8, 0]);
  assertEquals(signs("positive"), [0, 0, 0]);
  assertEquals(signs("rounded"), [0, 8, 0]);
  const fp4 = numberFormat("fp4_bnb");
  assertEquals([-0, -0.001, 0.001].map((x) => encodeElement(fp4, x)), [0, 8, 0]);
});

Deno.test("flint: the first one says the exponent, as the eight equations of the paper's 4 bits", () => {
  // p and mantissa of Survey of low-bit LLMs, eq. 5 and 6; bias 1.
  const value = (code: number) => {
    const [high, low] = [code >> 3, code & 7];
    const zeros = low === 0 ? 3 : 2 - Math.floor(Math.log2(low));
    if (code === 0) return 0;
    const p = high === 0 ? 3 - zeros : 4 + zeros;
    return 2 ** (p - 1) * (1 + ((low << (zeros + 1)) & 7) / 8);
  };
  const table = decodeTable(numberFormat("uflint4"));
  assertEquals([...table], Array.from({ length: 16 }, (_, code) => value(code)));
  const sorted = [...table].sort((a, b) => a - b);
  assertEquals(sorted, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32, 64]);
});

Deno.test("additive powers of two and logarithms, by their definitions", () => {
  const p0 = [0, 1, 1 / 4, 1 / 16], p1 = [0, 1 / 2, 1 / 8, 1 / 32];
  const sums = p0.flatMap((a) => p1.map((b) => Math.fround((a + b) / 1.5)));
  assertEquals([...decodeTable(numberFormat("apot4"))], sums);
  const signed = decodeTable(numberFormat("apot5"));
  assertEquals([...signed.slice(0, 16)], sums);
  assertEquals([...signed.slice(17)], sums.slice(1).map((v) => -v));
  const log = decodeTable(numberFormat("log2_4"));
  assertEquals([...log], Array.from({ length: 16 }, (_, i) => 2 ** -i));
  const adaptive = decodeTable(numberFormat("adalog4"));
  assertEquals(adaptive[0], 1);
  for (let i = 1; i < 16; i++) assert(Math.abs(Math.log2(adaptive[i]) + i * 20 / 37) < 1e-6);
});
