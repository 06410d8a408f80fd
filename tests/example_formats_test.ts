/** The formats in examples/formats, and all of IEEE P3109, against other implementations. */

import { assert, assertEquals } from "@std/assert";
import { numberFormatSchema } from "../spec/mod.ts";
import { checkFormat } from "../formats/check_format.ts";
import { resolveVectorFormat } from "../formats/lookup.ts";
import { decodeTable } from "../formats/reference.ts";
import { readUserFormats } from "../formats/user_formats.ts";
import { checkVectorFormat } from "../formats/vectors/check.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";

const kernels = await loadKernels();
const folder = new URL("../examples/formats/", import.meta.url);

Deno.test("every example format holds what `formats test` checks", async () => {
  let checked = 0;
  for await (const { name } of Deno.readDir(folder)) {
    const text = await Deno.readTextFile(new URL(name, folder));
    const user = readUserFormats([{ file: name, text }]);
    const [format] = user.numbers.values();
    const [vector] = user.vectors.values();
    const checks = format
      ? checkFormat(kernels, format)
      : checkVectorFormat(resolveVectorFormat(vector, user));
    for (const { ok, name: what, detail } of checks) {
      assert(ok, `${name}: ${what}: ${detail}`);
    }
    checked++;
  }
  assert(checked >= 6);
});

Deno.test("IEEE P3109 of 8 bits, any precision, signedness and domain, from parameters alone", async () => {
  const url = new URL("golden/p3109.json", import.meta.url);
  const { formats } = JSON.parse(await Deno.readTextFile(url)) as {
    formats: Record<string, { bias: number; values: (number | string)[] }>;
  };
  const names = Object.keys(formats);
  assertEquals(names.length, 30);
  for (const name of names) {
    const [precision, sign, domain] = [Number(name[0]), name[1], name[2]];
    const signed = sign === "s";
    const { bias, values } = formats[name];
    const exponent = 8 - precision + (signed ? 0 : 1);
    assertEquals(bias, 2 ** (exponent - 1));
    const format = numberFormatSchema.parse({
      id: `p3109_${name}`,
      summary: "IEEE P3109",
      family: "float",
      bits: 8,
      signed,
      exponent,
      mantissa: precision - 1,
      bias,
      nan: signed ? "negative_zero" : "all_ones",
      infinities: domain === "e" ? "top" : "none",
    });
    assertEquals([...decodeTable(format)], values.map(Number), name);
  }
});

Deno.test("posit8 is the posit of its standard: 1, powers of two and neighbours of 1", async () => {
  const text = await Deno.readTextFile(new URL("posit8.yaml", folder));
  const [posit] = readUserFormats([{ file: "posit8.yaml", text }]).numbers.values();
  const table = decodeTable(posit);
  // Regime 10, exponent 00, three fraction bits: eighths above 1; negation is two's complement.
  assertEquals([...table.slice(64, 72)], [1, 1.125, 1.25, 1.375, 1.5, 1.625, 1.75, 1.875]);
  for (let code = 1; code < 128; code++) {
    assertEquals(table[256 - code], -table[code]);
    assert(table[code] > table[code - 1], "posits are ordered as two's complement integers");
  }
});
