/**
 * Hyperparameters: the numbers of a model, read from config.json or GGUF metadata as an
 * architecture says, and the sizes that are products of them.
 *
 * @module
 */

import {
  type Architecture,
  type Checkpoint,
  type Factor,
  type Hyperparameter,
  type Hyperparameters,
  LowbitError,
  type Naming,
  type Requirement,
  type Size,
} from "../spec/mod.ts";
import { power } from "./real.ts";

/** The settings of a checkpoint: what {@linkcode readHyperparameters} looks at. */
export type Settings =
  & Pick<Checkpoint, "name" | "naming" | "config" | "gguf">
  & Partial<Pick<Checkpoint, "tensors">>;

/** No size of a model, and no product of sizes, is larger. */
const LARGEST = 2 ** 40;
/** No model has more blocks. */
const MOST_BLOCKS = 4096;

/**
 * The value of a size: names and numbers with `*` and `/`, from left to right, and `+`.
 *
 * A {@linkcode LowbitError}: `SCHEMA` for an unknown name, `SHAPE` for a quotient that is not a
 * whole number, `LIMIT` beyond 2^40.
 *
 * @example
 * ```ts
 * import { evaluateSize } from "./hyperparameters.ts";
 * evaluateSize("heads*head_size", { heads: 9, head_size: 64 }); // 576
 * ```
 */
export function evaluateSize(size: Size, hyperparameters: Hyperparameters): number {
  return sum(size, (name) => {
    if (Object.hasOwn(hyperparameters, name)) return hyperparameters[name];
    throw new LowbitError("SCHEMA", `unknown name ${JSON.stringify(name)}`, { field: size });
  });
}

function sum(size: Size, value: (name: string) => number): number {
  let result = size.split("+").reduce((total, part) => total + product(part, value), 0);
  // Shares of a size, such as 0.4 of 80, may miss a whole number by the last bit.
  if (Math.abs(result - Math.round(result)) < 1e-9) result = Math.round(result);
  if (!Number.isInteger(result) || result < 1) {
    throw new LowbitError("SHAPE", `is ${result}, not a whole number`, { field: size });
  }
  if (result > LARGEST) throw new LowbitError("LIMIT", `is ${result}`, { field: size });
  return result;
}

function product(size: Size, value: (name: string) => number): number {
  const parts = size.split(/([*/])/);
  const number = (part: string) => /^[\d.]+$/.test(part) ? Number(part) : value(part);
  let result = number(parts[0]);
  for (let i = 1; i < parts.length; i += 2) {
    const next = number(parts[i + 1]);
    result = parts[i] === "*" ? result * next : result / next;
  }
  return result;
}

/**
 * The value of a factor: a size or any number, raised to a power.
 *
 * @example
 * ```ts
 * import { evaluateFactor } from "./hyperparameters.ts";
 * evaluateFactor({ of: "hidden", power: 0.5 }, { hidden: 64 }); // 8
 * ```
 */
export function evaluateFactor(
  { of, power: exponent = 1 }: Factor,
  hyperparameters: Hyperparameters,
): number {
  const base = Object.hasOwn(hyperparameters, of)
    ? hyperparameters[of]
    : evaluateSize(of, hyperparameters);
  return power(base, exponent);
}

/**
 * The keys of a hyperparameter in a naming, in the order in which they are tried.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { keysOf } from "./hyperparameters.ts";
 * const vocab = { huggingface: "vocab_size", gguf: ["vocab_size", "tokenizer.ggml.tokens"] };
 * assertEquals(keysOf(vocab, "huggingface"), ["vocab_size"]);
 * assertEquals(keysOf(vocab, "gguf"), ["vocab_size", "tokenizer.ggml.tokens"]);
 * ```
 */
export function keysOf(entry: Hyperparameter, naming: Naming): string[] {
  const keys = entry[naming];
  return keys === undefined ? [] : typeof keys === "string" ? [keys] : keys;
}

/**
 * A GGUF key with the architecture's prefix, unless it is one that has none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ggufKey } from "./hyperparameters.ts";
 * assertEquals(ggufKey("block_count", "llama"), "llama.block_count");
 * assertEquals(ggufKey("tokenizer.ggml.tokens", "llama"), "tokenizer.ggml.tokens");
 * ```
 */
export function ggufKey(key: string, prefix: string): string {
  return /^(tokenizer|general)\./.test(key) ? key : `${prefix}.${key}`;
}

/**
 * The value of a setting, or undefined where it is missing or null.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { setting } from "./hyperparameters.ts";
 * const config = { rope_parameters: { rope_theta: 5000 } };
 * const settings = { name: "model", naming: "huggingface" as const, config };
 * assertEquals(setting(settings, "rope_parameters.rope_theta"), 5000);
 * ```
 */
export function setting(settings: Settings, key: string): unknown {
  const { config, gguf, naming } = settings;
  if (naming === "gguf") {
    const whole = ggufKey(key, String(config["general.architecture"]));
    return own(config, whole) ?? gguf?.get(whole)?.value;
  }
  if (Object.hasOwn(config, key)) return config[key] ?? undefined;
  let value: unknown = config;
  for (const part of key.split(".")) value = own(value, part);
  return value;
}

/**
 * A setting that is a list, or undefined.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { settingList } from "./hyperparameters.ts";
 * const settings = { name: "m", naming: "huggingface" as const, config: { layers: [0, 1] } };
 * assertEquals(settingList(settings, "layers"), [0, 1]);
 * ```
 */
export function settingList(settings: Settings, key: string): unknown[] | undefined {
  const value = setting(settings, key);
  return Array.isArray(value) ? value : undefined;
}

function own(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key] ?? undefined;
}

/**
 * All hyperparameters of a checkpoint. Booleans become 0 or 1; numbers that GGUF holds as f32
 * become the shortest decimal with the same f32, so that both namings give the same model.
 *
 * A {@linkcode LowbitError} that names the key: `SCHEMA` for a value that is missing or is no such
 * number, `LIMIT` for one that is too large, `UNSUPPORTED` for one that differs between blocks.
 *
 * @example
 * ```ts
 * import { parse } from "@std/yaml";
 * import { architectureSchema } from "../spec/mod.ts";
 * import { readHyperparameters } from "./hyperparameters.ts";
 * const architecture = architectureSchema.parse({
 *   id: "tiny",
 *   summary: "an example",
 *   match: { huggingface: ["tiny"], gguf: [] },
 *   hyperparameters: {
 *     hidden: { huggingface: "hidden_size" },
 *     heads: { huggingface: "num_heads" },
 *     head_size: { default: "hidden/heads" },
 *   },
 *   requires: [],
 *   parameters: [],
 *   block_parameters: [],
 *   graph: { before: [], block: [], after: [] },
 *   edges: [],
 * });
 * const config = { hidden_size: 64, num_heads: 4 };
 * readHyperparameters(architecture, { name: "m", naming: "huggingface", config }).head_size; // 16
 * ```
 */
export function readHyperparameters(
  architecture: Architecture,
  settings: Settings,
): Hyperparameters {
  const result: Record<string, number> = {};
  const open = new Set<string>();
  const place = (field: string) => ({ file: settings.name, field });
  const holds = (condition: string) =>
    (resolve(condition.replace(/^!/, "")) !== 0) !== condition.startsWith("!");
  const fallback = ({ cases = [], default: other }: Hyperparameter) =>
    cases.find(({ when }) => [when].flat().every(holds))?.value ?? other;
  const resolve = (name: string): number => {
    if (Object.hasOwn(result, name)) return result[name];
    const entry = architecture.hyperparameters[name];
    if (entry === undefined || open.has(name)) {
      throw new LowbitError("SCHEMA", `cannot be found from ${JSON.stringify(name)}`, {
        file: architecture.id,
        field: "hyperparameters",
      });
    }
    open.add(name);
    const keys = keysOf(entry, settings.naming);
    const found = keys.find((key) => setting(settings, key) !== undefined);
    if (found !== undefined) {
      const value = setting(settings, found);
      const known = entry.values && Object.hasOwn(entry.values, String(value));
      result[name] = known
        ? entry.values![String(value)]
        : number(value, entry.type ?? "integer", settings, found);
    } else if (settings.tensors?.has(entry.present?.[settings.naming] ?? "")) {
      result[name] = 1;
    } else if (settings.tensors?.has(entry.rows_of?.[settings.naming] ?? "")) {
      result[name] = settings.tensors.get(entry.rows_of![settings.naming]!)!.shape[0];
    } else if (settings.naming === "gguf" && entry.gguf_value !== undefined) {
      result[name] = entry.gguf_value;
    } else if (fallback(entry) !== undefined) {
      const value = fallback(entry)!;
      result[name] = typeof value === "number"
        ? value
        : within(() => sum(value, resolve), place(keys[0] ?? name));
    } else {
      throw new LowbitError("SCHEMA", `is missing from ${where(settings.naming)}`, {
        ...place(keys[0] ?? name),
        advice: `architecture ${architecture.id} needs it`,
      });
    }
    open.delete(name);
    return result[name];
  };
  for (const name of Object.keys(architecture.hyperparameters)) resolve(name);
  if (result.blocks > MOST_BLOCKS) {
    const key = keysOf(architecture.hyperparameters.blocks, settings.naming)[0];
    throw new LowbitError("LIMIT", `is ${result.blocks}, more than ${MOST_BLOCKS}`, place(key));
  }
  return result;
}

function where(naming: Naming): string {
  return naming === "gguf" ? "the metadata" : "config.json";
}

/** Runs `body`; an error gets this place. */
function within<T>(body: () => T, place: { file: string; field: string }): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof LowbitError) || error.file !== undefined) throw error;
    throw new LowbitError(error.code, `${error.field} ${error.problem}`, place);
  }
}

function number(
  value: unknown,
  type: NonNullable<Hyperparameter["type"]>,
  settings: Settings,
  field: string,
): number {
  const fail = (code: "SCHEMA" | "LIMIT" | "UNSUPPORTED", problem: string) =>
    new LowbitError(code, problem, { file: settings.name, field });
  if (Array.isArray(value)) {
    if (field.startsWith("tokenizer.")) return value.length;
    const [first, ...rest] = value;
    if (rest.some((item) => item !== first)) {
      throw fail("UNSUPPORTED", "differs from block to block, which this version cannot handle");
    }
    value = first;
  }
  if (type === "boolean") {
    if (typeof value === "boolean") return value ? 1 : 0;
    throw fail("SCHEMA", `must be true or false, not ${show(value)}`);
  }
  if (typeof value === "bigint") value = Number(value);
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw fail("SCHEMA", `must be a number, not ${show(value)}`);
  }
  if (type === "number") {
    if (value < 0) throw fail("SCHEMA", `must not be negative, but is ${value}`);
    return settings.naming === "gguf" ? shortest(value) : value;
  }
  if (type === "count" && value === 0) return 0;
  if (!Number.isInteger(value) || value < 1) {
    throw fail("SCHEMA", `must be a positive whole number, not ${value}`);
  }
  if (value > 2 ** 31) throw fail("LIMIT", `is ${value}, more than 2^31`);
  return value;
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 40);
}

/** The decimal with the fewest digits that is the same f32. */
function shortest(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === Math.fround(value)) return candidate;
  }
  return value;
}

/**
 * Throws where the checkpoint asks for something that the architecture file does not cover: one
 * `UNSUPPORTED` error for all such settings, naming the first key.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "../spec/mod.ts";
 * import { findArchitecture } from "./architecture.ts";
 * import { checkRequirements } from "./hyperparameters.ts";
 * const config = { model_type: "llama", hidden_act: "gelu" };
 * const settings = { name: "model", naming: "huggingface" as const, config };
 * const check = () => checkRequirements(findArchitecture(settings), settings, {});
 * assertThrows(check, LowbitError, 'model: hidden_act: is "gelu", but only');
 * ```
 */
export function checkRequirements(
  architecture: Architecture,
  settings: Settings,
  hyperparameters: Hyperparameters,
): void {
  const problems: { key: string; problem: string }[] = [];
  for (const requirement of architecture.requires) {
    const key = requirement[settings.naming];
    const value = key === undefined ? undefined : setting(settings, key);
    if (key === undefined || value === undefined) continue;
    const covered = coveredValues(requirement, hyperparameters);
    const plain = typeof value === "bigint" ? Number(value) : value;
    if (covered.some((allowed) => allowed === plain)) continue;
    problems.push({ key, problem: `is ${show(plain)}, but only ${list(covered)} is covered` });
  }
  if (problems.length === 0) return;
  const [first, ...rest] = problems.map(({ key, problem }) => ({ key, text: problem }));
  const others = rest.map(({ key, text }) => `; also ${key} ${text}`).join("");
  throw new LowbitError("UNSUPPORTED", first.text + others, {
    file: settings.name,
    field: first.key,
    advice: `architecture ${architecture.id} has no other form in this version`,
  });
}

function coveredValues(requirement: Requirement, hyperparameters: Hyperparameters): unknown[] {
  const { equals, allowed } = requirement;
  return equals === undefined ? allowed : [...allowed, evaluateSize(equals, hyperparameters)];
}

function list(values: unknown[]): string {
  return values.map((value) => JSON.stringify(value)).join(" or ");
}
