/**
 * The `quantization_config` of compressed-tensors: which linears have which weights.
 *
 * @module
 */

import type { PlannedTensor, ResolvedScheme, TargetArguments } from "../../spec/mod.ts";
import { byCodeUnits, sortedJson } from "../containers/json.ts";
import { moduleName } from "./module_name.ts";
import { compressedFormat } from "./compressed_tensors_formats.ts";

/**
 * The `quantization_config` for planned tensors that all fit the dialect. One scheme targets every
 * `Linear` but those that stay plain; several name their linears one by one. Where the scales of a
 * key-value cache go along, so does what the source says of it.
 */
export function quantizationConfig(
  tensors: readonly PlannedTensor[],
  { source }: Pick<TargetArguments, "source">,
): Record<string, unknown> {
  const groups = new Map<string, { group: Record<string, unknown>; modules: string[] }>();
  const formats = new Set<string>();
  for (const { name, storage, activation } of tensors) {
    if (storage.kind !== "coded") continue;
    const { id: format, scaleType } = compressedFormat(storage.scheme, activation)!;
    formats.add(format);
    const group = {
      weights: {
        ...weightArguments(storage.scheme),
        ...(scaleType && { scale_dtype: scaleType }),
      },
      input_activations: activation ? activationArguments(activation) : null,
      output_activations: null,
      format,
    };
    const key = sortedJson(group);
    const known = groups.get(key);
    if (known) known.modules.push(moduleName(name));
    else groups.set(key, { group, modules: [moduleName(name)] });
  }
  const single = groups.size === 1;
  const configGroups = [...groups.values()].map(({ group, modules }, i) =>
    [`group_${i}`, { ...group, targets: single ? ["Linear"] : modules }] as const
  );
  return {
    config_groups: Object.fromEntries(configGroups),
    format: formats.size === 1 ? [...formats][0] : "mixed-precision",
    global_compression_ratio: null,
    ignore: ignored(tensors),
    kv_cache_scheme: cacheScheme(tensors, source.config),
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
  };
}

/**
 * Modules that keep plain weights. Any matrix may belong to a linear, so all are listed; `lm_head`
 * is listed as well where it has no tensor of its own, because it is tied to the embedding.
 */
function ignored(tensors: readonly PlannedTensor[]): string[] {
  const modules = new Set<string>();
  const coded = new Set<string>();
  for (const { name, shape, storage, linear } of tensors) {
    if (!name.endsWith(".weight")) continue;
    if (storage.kind === "coded") coded.add(moduleName(name));
    else if (linear || shape.length === 2) modules.add(moduleName(name));
  }
  if (!coded.has("lm_head")) modules.add("lm_head");
  return [...modules].sort(byCodeUnits);
}

/** What the source says of its key-value cache, if the scales of it are written. */
function cacheScheme(
  tensors: readonly PlannedTensor[],
  config: Readonly<Record<string, unknown>>,
): unknown {
  const settings = config.quantization_config as Record<string, unknown> | null | undefined;
  const scaled = tensors.some(({ name }) => /\.[kv]_scale$/.test(name));
  return scaled ? settings?.kv_cache_scheme ?? null : null;
}

function weightArguments(scheme: ResolvedScheme): Record<string, unknown> {
  const { granularity, scale } = scheme;
  const { kind } = granularity;
  return {
    ...elements(scheme),
    block_structure: kind === "block" ? [granularity.rows, granularity.columns] : null,
    dynamic: false,
    group_size: kind === "group" ? granularity.size : null,
    observer: "minmax",
    strategy: scale.second ? "tensor_group" : kind,
    symmetric: scheme.zero_point === undefined,
  };
}

function activationArguments(scheme: ResolvedScheme): Record<string, unknown> {
  const { granularity, scale, timing } = scheme;
  return {
    ...elements(scheme),
    dynamic: scale.second ? "local" : timing !== "static",
    group_size: granularity.kind === "group" ? granularity.size : null,
    observer: timing === "static" ? "minmax" : null,
    ...(scale.second && { scale_dtype: "torch.float8_e4m3fn" }),
    strategy: scale.second ? "tensor_group" : granularity.kind,
    symmetric: true,
  };
}

function elements({ element }: ResolvedScheme): Record<string, unknown> {
  return {
    actorder: null,
    block_structure: null,
    num_bits: element.bits,
    observer_kwargs: {},
    type: element.family === "int" ? "int" : "float",
  };
}
