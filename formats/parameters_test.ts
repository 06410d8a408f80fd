import { assertEquals, assertThrows } from "@std/assert";
import { LowbitError, type ScaleRule } from "../spec/mod.ts";
import { openGolden } from "../tests/golden.ts";
import { resolveScheme, schemes } from "./lookup.ts";
import { fitParameters } from "./parameters.ts";
import { scaleStorage } from "./scale_storage.ts";

const mxfp4 = schemes.get("mxfp4");

function scaleOf(rule: ScaleRule, element: string, absmax: number): number {
  const scheme = resolveScheme({ ...mxfp4, id: "x", element, scale: { ...mxfp4.scale, rule } });
  const [max, min] = [Float32Array.of(absmax), Float32Array.of(-absmax / 2)];
  return fitParameters(scheme, { min, max, extreme: max }).scales[0];
}

Deno.test("MX scale rules equal torchao", async () => {
  const golden = await openGolden("formats/formats.safetensors");
  const [rows, columns] = golden.shape("mx_rules.x");
  const x = await golden.f32("mx_rules.x");
  for (const element of ["float4_e2m1fn", "float8_e4m3fn"]) {
    for (const mode of ["floor", "even", "ceil", "rceil"]) {
      const codes = await golden.codes(`mx_rules.${element}.${mode}`);
      for (let row = 0; row < rows; row++) {
        const absmax = x.subarray(row * columns, (row + 1) * columns)
          .reduce((max, value) => Math.max(max, Math.abs(value)), 0);
        const scale = scaleOf(`mx_${mode}` as ScaleRule, element, absmax);
        assertEquals(scale, 2 ** (codes[row] - 127), `${mode} of ${absmax} for ${element}`);
      }
    }
  }
});

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
