import { assert, assertEquals, assertThrows } from "@std/assert";
import { LowbitError, type ScaleRule } from "../spec/mod.ts";
import { noise } from "./dialects/testing.ts";
import { numberFormat, resolveScheme, schemes } from "./lookup.ts";
import { fitParameters } from "./parameters.ts";
import { decodeElement, decodeTable, encodeElement } from "./reference.ts";
import { scaleStorage } from "./scale_storage.ts";

const mxfp4 = schemes.get("mxfp4");

function scaleOf(rule: ScaleRule, element: string, absmax: number): number {
  const scheme = resolveScheme({ ...mxfp4, id: "x", element, scale: { ...mxfp4.scale, rule } });
  const [max, min] = [Float32Array.of(absmax), Float32Array.of(-absmax / 2)];
  return fitParameters(scheme, { min, max, extreme: max }).scales[0];
}

Deno.test("rceil is exact one ulp above the border, where a logarithm in f32 is not", () => {
  const border = 6 * 2 ** 3;
  assertEquals(scaleOf("mx_rceil", "float4_e2m1fn", border), 8);
  assertEquals(scaleOf("mx_rceil", "float4_e2m1fn", Math.fround(border * (1 + 2 ** -23))), 16);
});

Deno.test("zero points lie in the grid, zero is in the range, signs of extremes count", () => {
  const fit = (id: string, min: number, max: number, extreme = max) => {
    const [lo, hi, ex] = [min, max, extreme].map((value) => Float32Array.of(value));
    return fitParameters(resolveScheme(id), { min: lo, max: hi, extreme: ex });
  };
  const positive = fit("int4_g64_asym", 1, 4);
  assertEquals([positive.scales[0], positive.zeros![0]], [Math.fround(4 / 15), 0]);
  const negative = fit("int4_g64_asym", -4, -1);
  assertEquals([negative.scales[0], negative.zeros![0]], [Math.fround(4 / 15), 15]);
  assertEquals(fit("q4_0", -8, 2, -8).scales[0], 1);
  assertEquals(fit("q4_0", -2, 8, 8).scales[0], -1);
  assertEquals(fit("int4_g64_sym", 0, 0).scales[0], 1);
});

Deno.test("a scale that its format cannot hold is an error, not an infinity", () => {
  assertEquals(scaleStorage("float16")(0.1), 0.0999755859375);
  const scheme = resolveScheme({ base: "int4_g64_sym", scale_format: "float16" });
  const big = Float32Array.of(1e9);
  const fit = () => fitParameters(scheme, { min: big.map((v) => -v), max: big, extreme: big });
  assertEquals(assertThrows(fit, LowbitError).code, "NON_FINITE");
});

Deno.test("scales are stored as the reference stores them, by bits or not", () => {
  const ids = [
    "float16",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
    "float6_e2m3fn",
    "float8_e8m0fnu",
  ];
  for (const id of ids) {
    const format = numberFormat(id);
    const store = scaleStorage(id);
    const table = decodeTable(format).filter(Number.isFinite).toSorted();
    const probes = noise(20000, 5).map((v, i) => v * 2 ** (i % 40 - 30));
    for (let i = 0; i + 1 < table.length; i++) {
      const middle = (table[i] + table[i + 1]) / 2;
      for (const x of [table[i], middle, middle * (1 + 2 ** -20), middle * (1 - 2 ** -20)]) {
        const wanted = decodeElement(format, encodeElement(format, x));
        assert(Object.is(store(x), wanted), `${id}: ${x} became ${store(x)}, not ${wanted}`);
      }
    }
    for (const x of [...probes, 0, -0, Infinity, 1e38, -1e38, 1e-45]) {
      const wanted = decodeElement(format, encodeElement(format, x));
      assert(Object.is(store(x), wanted), `${id}: ${x} became ${store(x)}, not ${wanted}`);
    }
  }
});
