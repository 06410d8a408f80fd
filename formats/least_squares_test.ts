import { assert, assertEquals } from "@std/assert";
import { openGolden } from "../tests/golden.ts";
import { type ResolvedScheme, tiling } from "../spec/mod.ts";
import { leastSquares } from "./least_squares.ts";
import { resolveScheme } from "./lookup.ts";
import { decodeMatrix, encodeMatrix } from "./reference.ts";
import { finiteCodes } from "./steps.ts";

const golden = await openGolden("ggml/ggml.safetensors");
const manifest: { types: Record<string, { search?: { mean_square: number; weighted: number } }> } =
  JSON.parse(
    await Deno.readTextFile(new URL("../tests/golden/ggml/manifest.json", import.meta.url)),
  );

/** The mean of `w (x - Q(x))^2`, with the scheme's own rule. */
function error(
  scheme: ResolvedScheme,
  x: Float32Array,
  columns: number,
  weights: Float32Array,
  importance?: Float32Array,
): number {
  const tiles = tiling(scheme.granularity, x.length / columns, columns);
  const { range } = scheme;
  assert(range?.rule === "least_squares");
  const parameters = leastSquares(scheme, x, tiles, range, importance);
  const y = decodeMatrix(scheme, encodeMatrix(scheme, x, tiles, parameters), tiles, parameters);
  return x.reduce((sum, v, i) => sum + weights[i % columns] * (v - y[i]) ** 2, 0) / x.length;
}

Deno.test("least squares: no more error than ggml's encoders, with and without importance", async () => {
  const x = await golden.f32("search.x");
  const importance = await golden.f32("search.importance");
  const ones = new Float32Array(importance.length).fill(1);
  let compared = 0;
  for (const [type, { search }] of Object.entries(manifest.types)) {
    if (!search) continue;
    const scheme = resolveScheme(type.toLowerCase());
    const plain = error(scheme, x, 512, ones);
    const weighted = error(scheme, x, 512, importance, importance);
    assert(plain <= search.mean_square, `${type}: ${plain}, ggml ${search.mean_square}`);
    assert(weighted <= search.weighted, `${type}: ${weighted}, ggml ${search.weighted}`);
    compared++;
  }
  assertEquals(compared, 7);
});

Deno.test("least squares: what a grid holds exactly is found", () => {
  for (const id of ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs"]) {
    const scheme = resolveScheme(id);
    const tiles = tiling(scheme.granularity, 1, 512);
    // Every tile holds the codes of both ends.
    const ends = finiteCodes(scheme.element);
    const codes = Uint8Array.from({ length: 512 }, (_, i) => {
      const inside = i % tiles.tileColumns;
      return inside < 2 ? ends.at(-inside)! : (i * 37 + (i >> 4) * 11) % ends.length;
    });
    const count = tiles.gridColumns;
    const scales = new Float32Array(count).fill(0.25);
    const zeros = scheme.zero_point && new Float32Array(count).fill(-1);
    const x = decodeMatrix(scheme, codes, tiles, { scales, ...(zeros && { zeros }) });
    const ones = new Float32Array(512).fill(1);
    const energy = x.reduce((sum, v) => sum + v * v, 0) / x.length;
    const ratio = error(scheme, x, 512, ones) / energy;
    assert(ratio < 1e-7, `${id}: ${ratio}`);
  }
});

Deno.test("least squares: zeros stay zeros, and their scale is zero", () => {
  for (const id of ["q4_k", "q6_k", "iq4_nl"]) {
    const scheme = resolveScheme(id);
    const tiles = tiling(scheme.granularity, 1, 256);
    const { scales } = leastSquares(scheme, new Float32Array(256), tiles, {
      rule: "least_squares",
      candidates: 8,
    });
    assert(scales.every((s) => s === 0), id);
    assertEquals(error(scheme, new Float32Array(256), 256, new Float32Array(256).fill(1)), 0);
  }
});
