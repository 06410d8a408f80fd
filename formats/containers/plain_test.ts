import { assert, assertEquals } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from "./floats.ts";
import { decodePlain, encodePlain } from "./plain.ts";
import { decodeScales, encodeScales, scaleStorageType } from "./scales.ts";

Deno.test("floats: every float16 and bfloat16 code survives the round trip", () => {
  for (let code = 0; code < 65536; code++) {
    const half = fromFloat16(code);
    if (!Number.isNaN(half)) assertEquals(toFloat16(half), code);
    const brain = fromBfloat16(code);
    if (!Number.isNaN(brain)) assertEquals(toBfloat16(brain), code);
  }
  assert(Number.isNaN(fromFloat16(toFloat16(NaN))) && Number.isNaN(fromBfloat16(toBfloat16(NaN))));
});

Deno.test("floats: between neighbours the nearer, ties to even, as the engine's own float16", () => {
  for (let code = 0; code < 0x7c00; code += 7) {
    const [low, high] = [fromFloat16(code), code === 0x7bff ? 65536 : fromFloat16(code + 1)];
    for (const part of [0.25, 0.5, 0.5000001, 0.75]) {
      const x = Math.fround(low + (high - low) * part);
      const ours = fromFloat16(toFloat16(x));
      const wanted = new Float16Array([x])[0];
      assert(Object.is(ours, wanted), `${x}: ${ours}, ${wanted}`);
    }
  }
  assertEquals(toFloat16(65519.99), 0x7bff);
  assertEquals(toFloat16(65520), 0x7c00);
  assertEquals(toFloat16(-(2 ** -25)), 0x8000);
  assertEquals(toBfloat16(3.4e38), 0x7f80);
});

Deno.test("plain: bytes at an odd place are read as well", () => {
  const bytes = new Uint8Array([9, 0, 0, 0x80, 0x3f, 9]).subarray(1, 5);
  assertEquals([...decodePlain("float32", bytes)], [1]);
  assertEquals([...encodePlain("bfloat16", new Float32Array([1, -2]))], [0x80, 0x3f, 0x00, 0xc0]);
});

Deno.test("scales: formats of 8 bits are codes, inexact scales are refused", () => {
  assertEquals(scaleStorageType("float16"), "float16");
  assertEquals(scaleStorageType("float8_e4m3fn"), "uint8");
  assertEquals(scaleStorageType("no_such_format"), undefined);
  for (const format of ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e8m0fnu"]) {
    const scales = new Float32Array([1, 0.5, 4]);
    assertEquals(decodeScales(format, encodeScales(format, scales)), scales, format);
  }
  for (const [format, value] of [["float16", 0.1], ["float8_e8m0fnu", 3], ["float8_e8m0fnu", -0]]) {
    let code = "none";
    try {
      encodeScales(format as string, new Float32Array([value as number]));
    } catch (error) {
      code = error instanceof LowbitError ? error.code : String(error);
    }
    assertEquals(code, "FORMAT", `${format} ${value}`);
  }
});
