import { assertEquals } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { seededRng } from "../../engine/rng.ts";
import { numberFormat } from "../lookup.ts";
import { encodeElement } from "../reference.ts";
import { decodePlain, encodePlain } from "./plain.ts";
import { memorySource } from "./source.ts";
import { plainTensor } from "./stored.ts";
import { decodeScales, encodeScales, scaleStorageType } from "./scales.ts";

Deno.test("plain: bytes at an odd place are read as well", () => {
  const bytes = new Uint8Array([9, 0, 0, 0x80, 0x3f, 9]).subarray(1, 5);
  assertEquals([...decodePlain("float32", bytes)], [1]);
  assertEquals([...encodePlain("bfloat16", new Float32Array([1, -2]))], [0x80, 0x3f, 0x00, 0xc0]);
});

Deno.test("plain: floats of 16 bits are those of the normative cast", () => {
  const [bits, random] = [new Uint32Array(1), seededRng("plain")];
  const value = new Float32Array(bits.buffer);
  for (const type of ["float16", "bfloat16"] as const) {
    const format = numberFormat(type);
    const check = (word: number) => {
      bits[0] = word;
      const [low, high] = encodePlain(type, value);
      assertEquals(low + 256 * high, encodeElement(format, value[0]), `${type} of ${value[0]}`);
    };
    const step = type === "float16" ? 1 << 13 : 1 << 16;
    for (let i = 0; i < 20_000; i++) {
      const word = Math.floor(random.uniform() * 2 ** 32);
      check(word);
      // Numbers of the type, ties, and what is beside them, in the range of the type and beyond.
      const near = (word & 0x80000000 | (0x32000000 + (word >>> 1) % 0x16000000)) >>> 0;
      const tie = near - near % step;
      for (const more of [0, 1, step / 2 - 1, step / 2, step / 2 + 1, step - 1]) check(tie + more);
    }
    for (const word of [0, 1, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fffffff, 0xff800000]) {
      check(word);
      check((word | 0x80000000) >>> 0);
    }
    for (let power = 0x30; power < 0x48; power++) {
      for (const low of [0, 1, 0x7fffff, 0x800000, 0x800001, 0xffefff, 0xfff000]) {
        check(power * 2 ** 24 + low);
      }
    }
  }
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
