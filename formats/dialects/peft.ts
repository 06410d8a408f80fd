/**
 * Adapters in the format of PEFT: low-rank parts of weights as `adapter_model.safetensors`, with the
 * scale `lora_alpha / r` (by `sqrt(r)` with `use_rslora`) in `adapter_config.json`.
 *
 * The weight `M.weight` `[rows, columns]` has `base_model.model.M.lora_A.weight` `[r, columns]` and
 * `base_model.model.M.lora_B.weight` `[rows, r]`; `(lora_alpha / r) B A` is added to it. Ranks other
 * than `r` are in `rank_pattern`, with an alpha of their own, so that the scale is the same for all.
 *
 * @module
 */

import {
  adapterConfigSchema,
  type ByteSource,
  type Checkpoint,
  LowbitError,
  type LowRankPart,
  type Output,
} from "../../spec/mod.ts";
import { parseJson, sortedJson, toPlain } from "../containers/json.ts";
import { decodePlain, encodePlain } from "../containers/plain.ts";
import { entryBytes, readSafetensors, writeSafetensors } from "../containers/safetensors.ts";

const CONFIG = "adapter_config.json", WEIGHTS = "adapter_model.safetensors";

/** The files of an adapter. */
export const ADAPTER_FILES: readonly string[] = [CONFIG, WEIGHTS];

/** Low-rank parts by the names of the weights that they are added to. */
export type Adapter = ReadonlyMap<string, LowRankPart>;

/**
 * The low-rank parts of the weights of a checkpoint. A weight whose codes are rotated or have sparse
 * parts keeps these: they are no part of an adapter.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedPath } from "../../embedded/mod.ts";
 * import { openCheckpoint } from "../open.ts";
 * import { lowRankParts } from "./peft.ts";
 * const checkpoint = await openCheckpoint(embeddedPath("model"));
 * assertEquals((await lowRankParts(checkpoint)).size, 0);
 * checkpoint.close();
 * ```
 */
export async function lowRankParts({ tensors }: Checkpoint): Promise<Adapter> {
  const found = new Map<string, LowRankPart>();
  for (const [name, tensor] of tensors) {
    const { kind } = tensor.storage;
    if (kind !== "coded" && kind !== "vector") continue;
    const { side = [] } = kind === "vector" ? await tensor.vector!() : await tensor.quantized();
    for (const part of side) if (part.kind === "low_rank") found.set(name, part);
  }
  return found;
}

/**
 * Writes an adapter. `alpha` sets `lora_alpha` of the largest rank, and B is divided by `alpha / r`;
 * without it alpha is the rank, and B is the left factor as it is. The output is not yet committed.
 * Errors: `NOT_FOUND` without any part.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryOutput } from "../containers/output.ts";
 * import { memorySource } from "../containers/source.ts";
 * import { readAdapter, writeAdapter } from "./peft.ts";
 * const [left, right] = [Float32Array.of(1, 2), Float32Array.of(3, 4, 5)];
 * const part = { kind: "low_rank" as const, rank: 1, left, right };
 * const output = memoryOutput();
 * await writeAdapter(output, new Map([["model.x.weight", part]]), { alpha: 4 });
 * await output.commit();
 * const files = [...output.files].map(([name, bytes]) => memorySource(name, bytes));
 * assertEquals((await readAdapter(files)).get("model.x.weight"), part);
 * ```
 */
export async function writeAdapter(
  output: Output,
  adapter: Adapter,
  { alpha, base = null }: { alpha?: number; base?: string | null } = {},
): Promise<void> {
  const parts = [...adapter].map(([name, part]) => ({ module: moduleOf(name), ...part }));
  if (parts.length === 0) {
    throw new LowbitError("NOT_FOUND", "has no low-rank parts", {
      advice: "quantise with a recipe that adds some, such as qlora-nf4 or lqer-w4g64",
    });
  }
  const r = Math.max(...parts.map(({ rank }) => rank));
  const scale = (alpha ?? r) / r;
  const others = parts.filter(({ rank }) => rank !== r);
  const config = await output.file(CONFIG);
  await config.write(new TextEncoder().encode(
    sortedJson({
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      base_model_name_or_path: base,
      inference_mode: true,
      r,
      lora_alpha: alpha ?? r,
      target_modules: parts.map(({ module }) => module),
      rank_pattern: Object.fromEntries(others.map(({ module, rank }) => [module, rank])),
      alpha_pattern: Object.fromEntries(others.map(({ module, rank }) => [module, scale * rank])),
      lora_dropout: 0,
      bias: "none",
      fan_in_fan_out: false,
      init_lora_weights: true,
      use_rslora: false,
      use_dora: false,
      modules_to_save: null,
    }, 2) + "\n",
  ));
  await config.close();
  const arrays = parts.flatMap(({ module, rank, left, right }) => [
    { name: nameOf(module, "A"), shape: [rank, right.length / rank], values: right },
    {
      name: nameOf(module, "B"),
      shape: [left.length / rank, rank],
      values: scale === 1 ? left : left.map((value) => value / scale),
    },
  ]);
  const entries = arrays.map(({ name, shape }) => ({ name, shape, type: "float32" as const }));
  const metadata = new Map([["format", "pt"]]);
  const writer = await writeSafetensors(await output.file(WEIGHTS), entries, metadata);
  for (const { name, values } of arrays) await writer.write(name, encodePlain("float32", values));
  await writer.finish();
}

/**
 * Reads an adapter of LoRA from its two files, with the scale in the left factors. Errors:
 * `NOT_FOUND`, `SCHEMA`, `SHAPE`, and those of the containers.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { memoryOutput } from "../containers/output.ts";
 * import { memorySource } from "../containers/source.ts";
 * import { readAdapter, writeAdapter } from "./peft.ts";
 * const [left, right] = [Float32Array.of(1), Float32Array.of(3)];
 * const part = { kind: "low_rank" as const, rank: 1, left, right };
 * const output = memoryOutput();
 * await writeAdapter(output, new Map([["model.x.weight", part]]));
 * await output.commit();
 * const files = [...output.files].map(([name, bytes]) => memorySource(name, bytes));
 * assertEquals([...(await readAdapter(files)).keys()], ["model.x.weight"]);
 * ```
 */
export async function readAdapter(files: readonly ByteSource[]): Promise<Adapter> {
  const [settings, weights] = [CONFIG, WEIGHTS].map((name) => {
    const source = files.find((file) => file.name.split(/[\\/]/).at(-1) === name);
    if (source) return source;
    throw new LowbitError("NOT_FOUND", "is missing", { file: name });
  });
  const document = toPlain(parseJson(await settings.read(0, settings.size)));
  const config = adapterConfigSchema.parse(document, settings.name);
  const { tensors } = await readSafetensors(weights);
  const found = new Map<string, LowRankPart>();
  for (const { name } of tensors) {
    const [, module, letter] = /^base_model\.model\.(.*)\.lora_([AB])\.weight$/.exec(name) ?? [];
    if (module === undefined) {
      throw new LowbitError("UNSUPPORTED", "is no factor of a linear", {
        ...{ file: weights.name, field: name },
        advice: "only adapters of LoRA whose parts are lora_A and lora_B of linears can be read",
      });
    }
    if (letter === "B") continue;
    const [a, b] = await Promise.all(["A", "B"].map(async (letter) => {
      const place = tensors.find((place) => place.name === nameOf(module, letter));
      const field = nameOf(module, letter);
      if (!place) throw new LowbitError("NOT_FOUND", "is missing", { file: weights.name, field });
      const bytes = await weights.read(place.offset, entryBytes(place));
      return { shape: place.shape, values: decodePlain(place.type, bytes) };
    }));
    const rank = ofModule(config.rank_pattern, module) ?? config.r;
    if (a.shape.length !== 2 || a.shape[0] !== rank || b.shape[1] !== rank) {
      throw new LowbitError("SHAPE", `is not of rank ${rank}`, { file: weights.name, field: name });
    }
    const alpha = ofModule(config.alpha_pattern, module) ?? config.lora_alpha;
    const scale = alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
    const left = b.values.map((value) => value * scale);
    found.set(`${module}.weight`, { kind: "low_rank", rank, left, right: a.values });
  }
  return found;
}

/** What a pattern says of a module: the first name that is the module's, or the end of it. */
function ofModule(pattern: Record<string, number>, module: string): number | undefined {
  for (const [name, value] of Object.entries(pattern)) {
    if (!/^[\w.-]+$/.test(name)) {
      throw new LowbitError("UNSUPPORTED", "is a pattern that is not a name", { field: name });
    }
    if (module === name || module.endsWith(`.${name}`)) return value;
  }
}

const nameOf = (module: string, letter: string) =>
  `base_model.model.${module}.lora_${letter}.weight`;

function moduleOf(name: string): string {
  const module = /^(.*)\.weight$/.exec(name)?.[1];
  if (module !== undefined) return module;
  throw new LowbitError("UNSUPPORTED", "is no weight of a module", { field: name });
}
