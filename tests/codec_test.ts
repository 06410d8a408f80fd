/** Codecs on the WASM kernels against other implementations, and against the reference. */

import { assert, assertEquals } from "@std/assert";
import { refusesTail, tiling as tilingOf } from "../spec/mod.ts";
import { createCodecs } from "../formats/codec.ts";
import { resolveScheme, schemes } from "../formats/lookup.ts";
import { decodeMatrix, encodeMatrix } from "../formats/reference.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { seededRng } from "../engine/rng.ts";
import { openGolden } from "./golden.ts";

const kernels = await loadKernels();
const codecs = createCodecs(kernels);

Deno.test("schemes equal the oracles: codes, scales, zero points, values", async (t) => {
  const golden = await openGolden("formats/formats.safetensors");
  const ids = ["mxfp4", "nf4_b64", "int4_g64_sym", "int4_g32_asym", "int8_channel_sym"];
  for (const id of ids) {
    await t.step(id, async () => {
      const [rows, columns] = golden.shape(`${id}.x`);
      const codec = codecs.get(resolveScheme(id));
      const quantized = codec.quantize(await golden.f32(`${id}.x`), rows, columns);
      const { scales, zeros } = quantized.parameters;
      const expected = await golden.codes(`${id}.codes`);
      const values = await golden.f32(`${id}.values`);
      const decoded = codec.dequantize(quantized);
      const expectedScales = await golden.f32(`${id}.scales`);
      for (let i = 0; i < expected.length; i++) {
        const tile = Math.floor(i * expectedScales.length / expected.length);
        // An all-zero group has no meaning in its scale.
        if (expected[i] === 0 && values[i] === 0 && decoded[i] === 0) continue;
        assertEquals(scales[tile], expectedScales[tile], `${id}: scale ${tile}`);
        assertEquals(quantized.codes[i], expected[i], `${id}: code ${i}`);
        assertEquals(decoded[i], values[i], `${id}: value ${i}`);
      }
      if (golden.names.includes(`${id}.zeros`)) {
        assertEquals([...zeros!], [...await golden.f32(`${id}.zeros`)]);
      }
    });
  }
});

Deno.test("every scheme on hard matrices: WASM equals the reference, zeros stay zero", () => {
  const rng = seededRng("codec");
  for (const id of schemes.ids()) {
    const codec = codecs.get(resolveScheme(id));
    for (const [rows, columns] of [[1, 32], [3, 128], [5, 320], [2, 257], [2, 512]]) {
      if (refusesTail(codec.scheme, tilingOf(codec.scheme.granularity, rows, columns))) continue;
      const x = Float32Array.from({ length: rows * columns }, () => rng.normal() * 0.05);
      x.fill(0, 0, Math.min(columns, 32));
      x.fill(0.25, (rows - 1) * columns, rows * columns - columns / 2);
      x[rows * columns - 1] = 100;
      x[rows * columns - 2] = 1e-41;
      const quantized = codec.quantize(x, rows, columns);
      const tiling = codec.tiling(rows, columns);
      const { scheme, parameters, codes } = quantized;
      assertEquals(codes, encodeMatrix(scheme, x, tiling, parameters), `${id} ${rows}x${columns}`);
      const values = codec.dequantize(quantized);
      assertEquals(values, decodeMatrix(scheme, codes, tiling, parameters), `${id}: values`);
      assert(values.every(Number.isFinite), `${id}: not finite`);
      // A group that is all zero decodes to exact zeros.
      if (rows > 1 && tiling.tileColumns <= 32) {
        assert(values.slice(0, 32).every((v) => v === 0), id);
      }
    }
  }
});

Deno.test("coarser granularity never has less error with the same rule", () => {
  const rng = seededRng("granularity");
  const [rows, columns] = [6, 256];
  const x = Float32Array.from(
    { length: rows * columns },
    () => rng.normal() * Math.exp(rng.normal()),
  );
  const error = (granularity: Parameters<typeof resolveScheme>[0]) => {
    const codec = codecs.get(resolveScheme(granularity));
    const y = codec.dequantize(codec.quantize(x, rows, columns));
    return x.reduce((sum, value, i) => sum + (value - y[i]) ** 2, 0);
  };
  const base = "int4_g32_asym";
  const errors = [
    error({ base, granularity: { kind: "group", size: 32 } }),
    error({ base, granularity: { kind: "group", size: 128 } }),
    error({ base, granularity: { kind: "channel" } }),
    error({ base, granularity: { kind: "tensor" } }),
  ];
  assertEquals(errors, [...errors].sort((a, b) => a - b));
});
