/**
 * The `quantization_config` of compressed-tensors: which linears have which weights.
 *
 * @module
 */

import type { PlannedTensor, ResolvedScheme } from "../../spec/mod.ts";
import { byCodeUnits, sortedJson } from "../containers/json.ts";

/**
 * The `quantization_config` for planned tensors that all fit the dialect. One scheme targets every
 * `Linear` but those that stay plain; several name their linears one by one.
 */
export function quantizationConfig(tensors: readonly PlannedTensor[]): Record<string, unknown> {
  const groups = new Map<string, { group: Record<string, unknown>; modules: string[] }>();
  for (const { name, storage, activation } of tensors) {
    if (storage.kind !== "coded") continue;
    const group = {
      weights: weightArguments(storage.scheme),
      input_activations: activation ? activationArguments(activation) : null,
      output_activations: null,
      format: "pack-quantized",
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
    format: "pack-quantized",
    global_compression_ratio: null,
    ignore: ignored(tensors),
    kv_cache_scheme: null,
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

function moduleName(weight: string): string {
  return weight.replace(/\.weight$/, "");
}

function weightArguments(scheme: ResolvedScheme): Record<string, unknown> {
  const { granularity } = scheme;
  const group = granularity.kind === "group" ? granularity.size : null;
  return {
    ...integers(scheme),
    dynamic: false,
    group_size: group,
    observer: "minmax",
    strategy: group === null ? "channel" : "group",
    symmetric: scheme.zero_point === undefined,
  };
}

function activationArguments(scheme: ResolvedScheme): Record<string, unknown> {
  if (scheme.timing === "static") {
    return {
      ...integers(scheme),
      dynamic: false,
      group_size: null,
      observer: "minmax",
      strategy: "tensor",
      symmetric: true,
    };
  }
  return {
    ...integers(scheme),
    dynamic: true,
    group_size: null,
    observer: null,
    strategy: "token",
    symmetric: true,
  };
}

function integers(scheme: ResolvedScheme): Record<string, unknown> {
  return {
    actorder: null,
    block_structure: null,
    num_bits: scheme.element.bits,
    observer_kwargs: {},
    type: "int",
  };
}
