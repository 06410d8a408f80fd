import { assertEquals } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { decodePlain, encodePlain } from "./plain.ts";
import { memorySource } from "./source.ts";
import { plainTensor } from "./stored.ts";
import { decodeScales, encodeScales, scaleStorageType } from "./scales.ts";

Deno.test("plain: bytes at an odd place are read as well", () => {
  const bytes = new Uint8Array([9, 0, 0, 0x80, 0x3f, 9]).subarray(1, 5);
  assertEquals([...decodePlain("float32", bytes)], [1]);
  assertEquals([...encodePlain("bfloat16", new Float32Array([1, -2]))], [0x80, 0x3f, 0x00, 0xc0]);
});

Deno.test("plain: a tensor that is read in pieces has the values of one read as a whole", async () => {
  const shape = [6000, 1501]; // two pieces and a rest
  const bytes = Uint8Array.from({ length: 6000 * 1501 + 5 }, (_, i) => (i * 7) >> 3);
  const source = memorySource("x", bytes);
  const tensor = plainTensor({ name: "x", type: "uint8", shape, source, offset: 5 });
  assertEquals(await tensor.read(), Float32Array.from(bytes.subarray(5)));
  assertEquals(
    await tensor.read({ start: 1, end: 5999 }),
    Float32Array.from(bytes.subarray(5 + 1501, 5 + 5999 * 1501)),
  );
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
