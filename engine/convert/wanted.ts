/**
 * What the text behind `--to TARGET:` asks for, and what a target gets where codes cannot be kept.
 *
 * @module
 */

import {
  type Codecs,
  LowbitError,
  type PlainType,
  type Recipe,
  type SchemeReference,
  unknownName,
} from "../../spec/mod.ts";
import { schemes } from "../../formats/lookup.ts";
import type { Wanted } from "./choose.ts";
import type { ConvertItem } from "./items.ts";
import { mixtureTypes } from "./mixtures.ts";

/** What the tensors of a checkpoint shall become. */
export type WantedOf = (items: readonly ConvertItem[]) => Wanted;

const half = (base: string): SchemeReference => ({ base, scale_format: "float16" });

/**
 * Schemes to quantise anew with, the preferred ones first, by the ids of targets: the first with as
 * many bits as the source that the target holds.
 */
const FALLBACKS: Readonly<Record<string, readonly SchemeReference[]>> = {
  "gptq": ["int4_g128_asym", "int4_g64_asym", "int4_g32_asym", "int8_g128_sym", "int8_g32_sym"]
    .map(half),
  "awq": ["int4_g128_asym", "int4_g64_asym", "int4_g32_asym"].map(half),
  "marlin": ["int4_g128_sym", "int4_channel_sym"].map(half),
  "compressed-tensors": [
    "int4_g128_asym",
    "int4_g64_asym",
    "int4_g32_asym",
    "int8_g128_sym",
    "int8_channel_sym",
  ].map(half),
  "bitsandbytes": ["nf4_b64", "int8_channel_sym"],
  "hqq": ["int4_g64_asym", "int4_g32_asym", "int8_g64_asym"],
  "quanto": ["int4_g128_asym", "int4_channel_asym", "int8_channel_sym"],
  "fp8": ["fp8_b128"],
  "gguf": ["q4_1", "q5_1", "q8_0"],
};

/** The schemes that a target quantises anew with; none for those that hold plain values instead. */
export function fallbacksOf(target: string): readonly SchemeReference[] {
  return Object.hasOwn(FALLBACKS, target) ? FALLBACKS[target] : [];
}

const PLAIN: readonly PlainType[] = ["float32", "float16", "bfloat16"];

/** Short names of plain types, as ggml has them. */
const SHORT: Readonly<Record<string, PlainType>> = {
  f32: "float32",
  f16: "float16",
  bf16: "bfloat16",
};

/** `gptq`, or `gguf:q4_0`, as target and type. */
export function splitTarget(text: string): { id: string; type?: string } {
  const at = text.indexOf(":");
  return at < 0 ? { id: text } : { id: text.slice(0, at), type: text.slice(at + 1) };
}

/**
 * What a type asks for: a plain type for all tensors of more than one dimension, or a scheme for the
 * weights of linears; for GGUF also a mixture. Error: `UNKNOWN_NAME`.
 */
export function wantedType(
  type: string,
  target: string,
  { mixtures, codecs }: { mixtures: ReadonlyMap<string, Recipe>; codecs: Codecs },
): WantedOf {
  const name = type.toLowerCase();
  const mixture = target === "gguf" ? mixtures.get(name) : undefined;
  if (mixture) return (items) => mixtureTypes(mixture, items, codecs);
  const plain = PLAIN.find((known) => known === name) ??
    (Object.hasOwn(SHORT, name) ? SHORT[name] : undefined);
  if (plain) return () => ({ tensor }) => tensor.shape.length > 1 ? { plain } : undefined;
  if (!schemes.has(name)) {
    throw unknownName("type", type, [
      ...PLAIN,
      ...target === "gguf" ? mixtures.keys() : [],
      ...schemes.ids(),
    ], {
      advice: "`lowbit formats list` shows schemes; float32, float16 and bfloat16 are plain",
    });
  }
  const scheme = schemes.get(name);
  if (scheme.timing) {
    throw new LowbitError("FORMAT", `${type} is a scheme of activations`, {
      advice: "name a scheme of weights; see `lowbit formats list`",
    });
  }
  return () => ({ linear }) => linear ? name : undefined;
}
