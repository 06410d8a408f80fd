import { assert, assertEquals } from "@std/assert";
import type { RangeRule } from "../spec/mod.ts";
import { referenceKernels } from "../kernels-wasm/reference.ts";
import { createCodecs } from "./codec.ts";
import { noise } from "./dialects/testing.ts";
import { resolveScheme } from "./lookup.ts";
import { bestThreshold } from "./range.ts";

const kernels = referenceKernels();
const codecs = createCodecs(kernels);

function parametersOf(id: string, x: Float32Array, range?: RangeRule) {
  const codec = codecs.get(resolveScheme(id));
  using buffer = kernels.upload(x);
  return codec.parameters(buffer, codec.tiling(1, x.length), range);
}

Deno.test("percentile: the share of magnitudes of nearest rank, one side at a time with a zero", () => {
  const x = Float32Array.from({ length: 1000 }, (_, i) => i - 300); // -300 to 699
  const share = (value: number): RangeRule => ({ rule: "percentile", share: value });
  // 990 of 1000 magnitudes are at most 689.
  assertEquals(parametersOf("int8_channel_sym", x, share(0.99)).scales[0], Math.fround(689 / 127));
  assertEquals(parametersOf("int8_channel_sym", x, share(1)).scales[0], Math.fround(699 / 127));
  // From -290 to 689: ten values are left out on either side.
  const { scales, zeros } = parametersOf("int8_channel_asym", x, share(0.99));
  assertEquals(scales[0], Math.fround(979 / 255));
  assertEquals(zeros![0], Math.round(290 / (979 / 255)));
});

Deno.test("entropy: an outlier far away is clipped, uniform values are not", () => {
  const bell = noise(4096, 1).map((v, i) => v * noise(1, i + 2)[0]);
  bell[17] = 60;
  const entropy: RangeRule = { rule: "entropy", bins: 2048 };
  // 128 levels are at least 128 bins of 2048: 3.75 of 60.
  assertEquals(parametersOf("int8_channel_sym", bell, entropy).scales[0], Math.fround(3.75 / 127));
  const flat = noise(4096, 3);
  const whole = parametersOf("int8_channel_sym", flat).scales[0];
  assert(parametersOf("int8_channel_sym", flat, entropy).scales[0] > 0.9 * whole);
});

Deno.test("entropy: the divergence of every threshold, by the definition", () => {
  const histogram = Float64Array.of(50, 30, 22, 9, 8, 5, 1, 0, 0, 0, 0, 2);
  const levels = 3;
  const total = histogram.reduce((a, b) => a + b);
  const divergence = (kept: number): number => {
    const p = histogram.slice(0, kept);
    p[kept - 1] += total - p.reduce((a, b) => a + b);
    const q = new Float64Array(kept);
    for (let level = 0; level < levels; level++) {
      const bins = [...q.keys()].filter((i) =>
        i >= Math.floor(level * kept / levels) && i < Math.floor((level + 1) * kept / levels) &&
        histogram[i] > 0
      );
      for (const i of bins) q[i] = bins.reduce((sum, j) => sum + histogram[j], 0) / bins.length;
    }
    const inside = q.reduce((a, b) => a + b);
    return p.reduce((sum, count, i) => {
      if (count === 0) return sum;
      if (q[i] === 0) q[i] = 1e-4;
      return sum + count / total * Math.log(count / total / (q[i] / inside));
    }, 0);
  };
  const kept = Array.from({ length: 10 }, (_, i) => i + levels);
  const least = Math.min(...kept.map(divergence));
  assertEquals(bestThreshold(histogram, levels), kept.find((k) => divergence(k) === least));
});

Deno.test("error: never worse than the whole range by its own measure", () => {
  for (const norm of [2, 2.4]) {
    for (let seed = 1; seed < 12; seed++) {
      const x = noise(64, seed).map((v) => v ** 3);
      const error = (range?: RangeRule) => {
        const codec = codecs.get(resolveScheme("int4_g64_sym"));
        using buffer = kernels.upload(x);
        const tiles = codec.tiling(1, 64);
        const parameters = codec.parameters(buffer, tiles, range);
        using codes = codec.encode(buffer, tiles, parameters);
        using back = codec.decode(codes, tiles, parameters);
        return x.reduce((sum, v, i) => sum + Math.abs(v - back.array[i]) ** norm, 0);
      };
      const searched = error({ rule: "error", norm, candidates: 20, smallest: 0.5 });
      assert(searched <= error() * (1 + 1e-6), `${norm} ${seed}`);
    }
  }
});

Deno.test("range rules: all-zero tiles keep a finite scale and exact zeros", () => {
  const rules: RangeRule[] = [
    { rule: "percentile", share: 0.9 },
    { rule: "entropy", bins: 256 },
    { rule: "error", norm: 2, candidates: 4, smallest: 0.5 },
  ];
  for (const range of rules) {
    for (const id of ["int4_g64_sym", "int4_g64_asym", "nf4_b64"]) {
      const codec = codecs.get(resolveScheme(id));
      using x = kernels.alloc("f32", 64);
      const tiles = codec.tiling(1, 64);
      const parameters = codec.parameters(x, tiles, range);
      assert(parameters.scales.every(Number.isFinite));
      using codes = codec.encode(x, tiles, parameters);
      using y = codec.decode(codes, tiles, parameters);
      assert(y.array.every((v) => v === 0), `${id}, ${range.rule}`);
    }
  }
});
