/** Codecs on the WASM kernels against the reference. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { createCodecs } from "../formats/codec.ts";
import { resolveScheme, schemes } from "../formats/lookup.ts";
import { decodeMatrix, encodeMatrix, forEachElement } from "../formats/reference.ts";
import { refusesTail, tiling as tilesOf } from "../spec/mod.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { seededRng } from "../engine/rng.ts";

const kernels = await loadKernels();
const codecs = createCodecs(kernels);

Deno.test("every scheme on hard matrices: WASM equals the reference, zeros stay zero", () => {
  const rng = seededRng("codec");
  for (const id of schemes.ids()) {
    const codec = codecs.get(resolveScheme(id));
    for (const [rows, columns] of [[1, 32], [3, 128], [5, 320], [2, 257], [3, 512]]) {
      if (refusesTail(codec.scheme, tilesOf(codec.scheme.granularity, rows, columns))) continue;
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

/** From fine to coarse. */
const GRANULARITIES = [
  { kind: "group", size: 32 },
  { kind: "group", size: 128 },
  { kind: "channel" },
  { kind: "tensor" },
] as const;

Deno.test("coarser granularity never has less error with the same rule", () => {
  const [rows, columns] = [6, 256];
  const coders = ["int4_g32_asym", "int4_g32_sym", "int8_g32_asym"].map((base) =>
    GRANULARITIES.map((granularity) => codecs.get(resolveScheme({ base, granularity })))
  );
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(...coders), (seed, fineToCoarse) => {
      const rng = seededRng(`granularity/${seed}`);
      const x = Float32Array.from(
        { length: rows * columns },
        () => rng.normal() * Math.exp(rng.normal()),
      );
      let [error, scales] = [0, new Float32Array(rows * columns)];
      for (const codec of fineToCoarse) {
        const quantized = codec.quantize(x, rows, columns);
        const y = codec.dequantize(quantized);
        const sum = x.reduce((total, value, i) => total + (value - y[i]) ** 2, 0);
        assert(sum >= error, `${codec.scheme.id}: ${sum} after ${error}`);
        error = sum;
        // The step, which bounds the error of every element, does not shrink anywhere.
        const steps = new Float32Array(rows * columns);
        forEachElement(codec.tiling(rows, columns), (element, tile) => {
          steps[element] = quantized.parameters.scales[tile];
          assert(steps[element] >= scales[element], codec.scheme.id);
        });
        scales = steps;
      }
    }),
    { numRuns: 30, seed: 4 },
  );
});

Deno.test("static scales: activations are quantised with the parameters that are given", () => {
  const codec = codecs.get(resolveScheme("int8_tensor_static"));
  using calibration = kernels.upload(Float32Array.of(-12.7, 3, 0.1, 5));
  const parameters = codec.parameters(calibration, codec.tiling(1, 4));
  using x = kernels.upload(Float32Array.of(0.26, 100, -1, 0));
  codec.fake(x, 1, 4, parameters);
  // A step of 0.1; what lies beyond the calibrated range saturates.
  const step = Math.fround(Math.fround(12.7) / 127);
  assertEquals([...x.array], [3, 127, -10, 0].map((code) => Math.fround(code * step)));
});
