/**
 * Every packed layout against the packer that owns it (tools/golden/packing.py).
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { openGolden } from "../tests/golden.ts";
import manifest from "../tests/golden/packing/manifest.json" with { type: "json" };
import { layout, layouts } from "./lookup.ts";
import { packMatrix, referencePack, referenceUnpack, unpackMatrix } from "./pack.ts";
import { packScales, unpackScales } from "./pack_scales.ts";

const golden = await openGolden("packing/packing.safetensors");

/** Scales are compared as numbers of these formats, which have a number for every code used. */
const SCALE_FORMATS: Record<number, string> = { 8: "uint8", 16: "float16", 32: "float32" };

/** Layouts of scales. */
const SCALES = ["marlin_scales", "marlin_channel_scales", "cublas_scales", "group_major"];

Deno.test("packing: our bytes are those of the packages, and give their codes back", async () => {
  for (const { codes: codesName, packed, ...size } of manifest.cases) {
    const form = layout(size.layout);
    const bytes = await golden.bytes(packed);
    const codes = Uint8Array.from(await golden.bytes(codesName));
    const what = `${size.layout}, ${size.bits} bits, ${size.rows} x ${size.columns}`;
    if (SCALES.includes(size.layout)) {
      const format = SCALE_FORMATS[size.bits];
      const scales = Float32Array.from(
        size.bits === 8
          ? codes
          : size.bits === 16
          ? new Float16Array(codes.buffer)
          : new Float32Array(codes.buffer),
      );
      assertEquals(packScales(format, scales, size, form), bytes, what);
      assertEquals(unpackScales(format, bytes, size, form), scales, what);
      continue;
    }
    assertEquals(referencePack({ codes }, size, form), bytes, what);
    assertEquals(packMatrix(undefined, { codes }, size, form), bytes, what);
    assertEquals(referenceUnpack(bytes, size, form).codes, codes, what);
    assertEquals(unpackMatrix(undefined, bytes, size, form).codes, codes, what);
  }
});

Deno.test("packing: every layout of other packages has a case, in every width", () => {
  const proven = new Set(manifest.cases.map(({ layout, bits }) => `${layout} ${bits}`));
  const others = layouts.ids().filter((id) => !id.startsWith("ggml_") && !id.startsWith("lowbit_"));
  for (const id of others) {
    for (const bits of layout(id).bits) assert(proven.has(`${id} ${bits}`), `${id}, ${bits} bits`);
  }
});
