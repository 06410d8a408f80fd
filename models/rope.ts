/**
 * Rotary positions: frequencies of every kind that settings ask for, and turning by them.
 *
 * @module
 */

import { LowbitError } from "../spec/mod.ts";
import { setting, type Settings } from "./hyperparameters.ts";
import { circle, log, power } from "./real.ts";

/** What settings say about rotary positions beyond `theta`. */
export interface RopeScaling {
  /** Divides the frequency of each pair; absent where nothing does. */
  factors?: Float32Array;
  /** The factors beyond the original context, where there are others. */
  long?: Float32Array;
  /** Multiplies the turned channels. */
  magnitude: number;
  /** Positions that this holds for, where that is fewer than the model's context. */
  context?: number;
}

/**
 * The scaling of rotary frequencies that config.json asks for, over `pairs` pairs of channels:
 * `default`, `linear`, `llama3`, `yarn` and `longrope` (`su`); `dynamic` within its original context, where it
 * is no scaling. `UNSUPPORTED` for any other.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ropeScaling } from "./rope.ts";
 * const config = { rope_scaling: { rope_type: "linear", factor: 4 } };
 * const settings = { name: "m", naming: "huggingface" as const, config };
 * assertEquals([...ropeScaling(settings, 2, 10000).factors!], [4, 4]);
 * ```
 */
export function ropeScaling(settings: Settings, pairs: number, theta: number): RopeScaling {
  const { naming } = settings;
  const at = (key: string) =>
    naming === "gguf"
      ? setting(settings, `rope.scaling.${key}`)
      : setting(settings, `rope_scaling.${key}`) ?? setting(settings, `rope_parameters.${key}`);
  const number = (key: string, fallback?: number) => {
    const value = at(key) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    throw new LowbitError("SCHEMA", `must be a positive number, not ${JSON.stringify(value)}`, {
      file: settings.name,
      field: `rope_scaling.${key}`,
    });
  };
  const type = at("rope_type") ?? at("type") ?? "default";
  const whole = Number(setting(settings, "max_position_embeddings") ?? 0);
  const original = () =>
    Number(
      setting(settings, "original_max_position_embeddings") ??
        number(
          naming === "gguf" ? "original_context_length" : "original_max_position_embeddings",
          whole,
        ),
    );
  const frequency = (pair: number) => power(theta, -pair / pairs);
  const make = (factor: (pair: number) => number) =>
    Float32Array.from({ length: pairs }, (_, i) => factor(i));
  switch (type) {
    case "default":
    case "none":
      return { magnitude: 1 };
    case "linear": {
      const factor = number("factor");
      return { factors: make(() => factor), magnitude: 1 };
    }
    case "dynamic":
      return { magnitude: 1, context: original() };
    case "llama3": {
      const [factor, low, high] = ["factor", "low_freq_factor", "high_freq_factor"].map((key) =>
        number(key)
      );
      const context = original();
      return {
        magnitude: 1,
        factors: make((pair) => {
          const turns = context * frequency(pair) / (2 * Math.PI);
          if (turns < low) return factor;
          if (turns > high) return 1;
          const smooth = (turns - low) / (high - low);
          return 1 / ((1 - smooth) / factor + smooth);
        }),
      };
    }
    case "yarn": {
      const context = original();
      const factor = number("factor", whole / context || undefined);
      const edge = (turns: number) => pairs * log(context / (turns * 2 * Math.PI)) / log(theta);
      const truncate = at("truncate") !== false;
      const fast = edge(number(naming === "gguf" ? "yarn_beta_fast" : "beta_fast", 32));
      const slow = edge(number(naming === "gguf" ? "yarn_beta_slow" : "beta_slow", 1));
      const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
      const high = Math.min(truncate ? Math.ceil(slow) : slow, 2 * pairs - 1);
      const width = high === low ? 0.001 : high - low;
      const scale = (by: number) => factor <= 1 ? 1 : 0.1 * by * log(factor) + 1;
      const [own, all] = [at("mscale"), at("mscale_all_dim")];
      const usual = own && all
        ? scale(number("mscale")) / scale(number("mscale_all_dim"))
        : scale(1);
      return {
        magnitude: number("attention_factor", usual),
        factors: make((pair) => {
          const ramp = Math.min(1, Math.max(0, (pair - low) / width));
          return 1 / (ramp / factor + 1 - ramp);
        }),
      };
    }
    case "su":
    case "longrope": {
      // A GGUF file has these factors as tensors.
      if (naming === "gguf") return { magnitude: 1 };
      const list = (key: string) => {
        const values = at(key);
        if (Array.isArray(values) && values.length === pairs && values.every(Number.isFinite)) {
          return Float32Array.from(values);
        }
        throw new LowbitError("SCHEMA", `must be ${pairs} numbers`, {
          file: settings.name,
          field: `rope_scaling.${key}`,
        });
      };
      const context = original();
      const factor = whole / context;
      const magnitude = factor > 1 ? Math.sqrt(1 + log(factor) / log(context)) : 1;
      return {
        factors: list("short_factor"),
        long: list("long_factor"),
        magnitude: number("attention_factor", magnitude),
        context,
      };
    }
    default:
      throw new LowbitError("UNSUPPORTED", `${JSON.stringify(type)} is not covered`, {
        file: settings.name,
        field: naming === "gguf" ? "rope.scaling.type" : "rope_scaling.rope_type",
        advice: "covered: default, linear, dynamic, llama3, yarn, longrope",
      });
  }
}

/** What {@linkcode rotary} needs. */
export interface RotaryArguments {
  /** `[rows, heads * size]`, changed in place. */
  x: Float32Array;
  /** Heads of a row. */
  heads: number;
  /** Channels of a head. */
  size: number;
  /** Channels that turn, from the first. */
  rotary: number;
  /** The base of the frequencies. */
  theta: number;
  /** Divides the frequencies. */
  factors?: ArrayLike<number>;
  /** Multiplies what has turned. */
  magnitude: number;
  /** The position of the first row. */
  position: number;
  /** Which channels are pairs. */
  pairs: "halves" | "neighbours";
}

/**
 * Turns the heads of rows by their positions.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { rotary } from "./rope.ts";
 * const x = Float32Array.of(1, 0);
 * const common = { heads: 1, size: 2, rotary: 2, theta: 10000, magnitude: 1, position: 3 };
 * rotary({ x, ...common, pairs: "halves" });
 * assertAlmostEquals(x[1], Math.sin(3), 1e-7);
 * ```
 */
export function rotary(args: RotaryArguments): void {
  const { x, heads, size, rotary, theta, factors, magnitude, position, pairs } = args;
  const half = rotary / 2, rows = x.length / (heads * size);
  const frequencies = Float64Array.from(
    { length: half },
    (_, i) => power(theta, -i / half) / (factors?.[i] ?? 1),
  );
  const [step, distance] = pairs === "halves" ? [1, half] : [2, 1];
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < half; i++) {
      const [c, s] = circle((position + row) * frequencies[i]);
      for (let head = 0; head < heads; head++) {
        const a = (row * heads + head) * size + i * step, b = a + distance;
        const [p, q] = [x[a], x[b]];
        x[a] = magnitude * (p * c - q * s);
        x[b] = magnitude * (q * c + p * s);
      }
    }
  }
}
