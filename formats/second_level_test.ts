import { assert, assertEquals, assertThrows } from "@std/assert";
import { LowbitError, type ResolvedScheme, schemeSchema } from "../spec/mod.ts";
import { referenceKernels } from "../kernels-wasm/reference.ts";
import { createCodecs } from "./codec.ts";
import { noise } from "./dialects/testing.ts";
import { resolveScheme, schemes } from "./lookup.ts";
import { parameterParts, parametersFrom, partValues, storedBits } from "./parameter_parts.ts";

const kernels = referenceKernels();
const codecs = createCodecs(kernels);

const superBlocks = (extra: Record<string, unknown> = {}): ResolvedScheme =>
  resolveScheme(schemeSchema.parse({
    id: "two_levels",
    summary: "groups of 16, scales of 4 bits in super-blocks of 4",
    element: "uint4",
    granularity: { kind: "group", size: 16 },
    scale: { rule: "minmax", format: "uint4", second: { kind: "super_block", tiles: 4 } },
    zero_point: { kind: "minimum" },
    ...extra,
  }));

const withSecond = () => schemes.ids().map((id) => resolveScheme(id)).filter((s) => s.scale.second);

Deno.test("second levels: what is stored reads back as the scales that were used", () => {
  const all = [...withSecond(), superBlocks()];
  assert(all.length >= 6);
  for (const scheme of all) {
    const codec = codecs.get(scheme);
    const x = noise(6 * 128, 7).map((v, i) => i < 128 ? 0 : v * 2 ** (i % 5));
    const tensor = codec.quantize(x, 6, 128);
    const tiles = codec.tiling(6, 128);
    const parts = parameterParts(scheme, tiles);
    const stored = parts.map((part) => [part.name, partValues(tensor.parameters, part)!] as const);
    for (const [i, [name, values]] of stored.entries()) {
      assertEquals(values.length, parts[i].shape[0] * parts[i].shape[1], `${scheme.id} ${name}`);
    }
    const { scales, zeros } = parametersFrom(scheme, tiles, new Map(stored));
    assertEquals(scales, tensor.parameters.scales, scheme.id);
    assertEquals(zeros, tensor.parameters.zeros, scheme.id);
    const back = codec.dequantize(tensor);
    assert(back.every(Number.isFinite), scheme.id);
    assert(back.subarray(0, 128).every((v) => v === 0), `${scheme.id}: zeros stay zero`);
    const noiseShare = x.reduce((sum, v, i) => sum + (v - back[i]) ** 2, 0) /
      x.reduce((sum, v) => sum + v * v, 0);
    // The worst of 4 bits is the one with a minimum of 4 bits; each bit less is worth 6 dB.
    const allowed = 0.02 * 4 ** Math.max(0, 4 - scheme.element.bits);
    assert(noiseShare < allowed, `${scheme.id}: ${noiseShare}`);
  }
});

Deno.test("super-blocks: scales and minima are whole multiples of those of the block", () => {
  const scheme = superBlocks();
  const x = noise(2 * 128, 3).map((v) => v - 0.5);
  const { parameters: { scales, zeros, second } } = codecs.get(scheme).quantize(x, 2, 128);
  assertEquals(second!.over.length, 4);
  assertEquals(second!.scales.length, 16);
  for (let i = 0; i < 16; i++) {
    const [s, m] = [second!.scales[i], second!.minima![i]];
    assert(Number.isInteger(s) && s >= 0 && s <= 15 && Number.isInteger(m) && m >= 0 && m <= 15);
    assertEquals(scales[i], Math.fround(s * second!.over[i >> 2]));
    assertEquals(zeros![i], -Math.fround(m * second!.overMinima![i >> 2]) + 0);
  }
  // 4 bits a code, 8 a group of 16, two f16 a block of 64.
  const tiles = codecs.get(scheme).tiling(2, 128);
  assertEquals(storedBits(scheme, tiles) / 256, 4 + 8 / 16 + 32 / 64);
});

Deno.test("super-blocks with signed scales: the largest magnitude takes the most negative code", () => {
  const scheme = resolveScheme(schemeSchema.parse({
    id: "signed_levels",
    summary: "as Q6_K stores its scales",
    element: "int6",
    granularity: { kind: "group", size: 16 },
    scale: {
      rule: "signed_extreme",
      divisor: 32,
      format: "int8",
      second: { kind: "super_block", tiles: 4, signed: true },
    },
  }));
  const x = noise(64, 5);
  const tensor = codecs.get(scheme).quantize(x, 1, 64);
  assertEquals(Math.min(...tensor.parameters.second!.scales), -128);
});

Deno.test("double quantisation: the mean is taken away, and the largest distance is a code of 1", () => {
  const scheme = resolveScheme("nf4_b64_dq");
  const x = noise(64 * 300, 9);
  const { parameters } = codecs.get(scheme).quantize(x, 1, x.length);
  const { scales, over, offset } = parameters.second!;
  assertEquals([scales.length, over.length, offset!.length], [300, 2, 1]);
  const raw = parameters.unrounded!;
  const mean = raw.reduce((sum, s) => sum + s, 0) / raw.length;
  assertEquals(offset![0], Math.fround(mean));
  assertEquals(Math.max(...scales.subarray(0, 256).map(Math.abs)) > 0.98, true);
});

Deno.test("nvfp4: the three orders agree on ordinary numbers and differ beside ties", () => {
  const ids = ["nvfp4_torchao", "nvfp4_modelopt", "nvfp4_ct"];
  const decode = (id: string, x: Float32Array) => {
    const codec = codecs.get(resolveScheme(id));
    return codec.dequantize(codec.quantize(x, 1, x.length));
  };
  const plain = noise(512, 21);
  const [a, b, c] = ids.map((id) => decode(id, plain));
  assertEquals(b, a);
  assertEquals(c, a);
  const hard = noise(16 * 4096, 11).map((v) => Math.round(v * 24) / 24 * 1.1);
  const [d, e, f] = ids.map((id) => decode(id, hard));
  assert(d.some((v, i) => v !== e[i]) && d.some((v, i) => v !== f[i]));
});

Deno.test("scales of token and channel never clip, and hold an outlier channel", () => {
  const x = noise(8 * 64, 13).map((v, i) => i % 64 === 5 ? 100 * v : v);
  const error = (id: string) => {
    const codec = codecs.get(resolveScheme(id));
    const back = codec.dequantize(codec.quantize(x, 8, 64));
    return x.reduce((sum, v, i) => sum + (i % 64 === 5 ? 0 : (v - back[i]) ** 2), 0);
  };
  assert(error("int8_cross") < error("int8_token") / 4);
  const { codes } = codecs.get(resolveScheme("int8_cross")).quantize(x, 8, 64);
  assert(!codes.includes(0x80));
});

Deno.test("schemes whose levels do not fit together are refused with the field", () => {
  const refused = (message: string, extra: Record<string, unknown>) =>
    assertThrows(() => superBlocks(extra), LowbitError, message);
  const scale = { rule: "minmax", format: "uint4" };
  refused("need each other", { granularity: { kind: "element" } });
  refused("super_block is for minima", {
    scale: { ...scale, second: { kind: "super_block", tiles: 4 } },
    zero_point: { kind: "int" },
  });
  refused("double is for rule absmax", {
    scale: { ...scale, second: { kind: "double", tiles: 8 } },
  });
  refused("multiply", { scale: { ...scale, apply: "multiply" } });
  refused("tiles", { scale: { ...scale, second: { kind: "super_block", tiles: 1 } } });
});
