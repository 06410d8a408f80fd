/**
 * Marlin checkpoints, written and read: signed int4 in tiles of 16 x 64 that tensor cores load
 * without a shuffle, and f16 scales permuted alike.
 *
 * A linear `X` has `X.B` (codes), `X.s` (scales) and `X.workspace` (locks of the kernel, zeros), with
 * `checkpoint_format: marlin` in the settings of GPTQ.
 *
 * @module
 */

import {
  LowbitError,
  type PlannedTensor,
  type ResolvedScheme,
  type Target,
  tiling,
} from "../../spec/mod.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { packScales } from "../pack_scales.ts";
import type { Tools } from "./coded.ts";
import type { DirectoryTensors } from "./directory.ts";
import type { TargetTools } from "./lowbit.ts";
import { moduleName } from "./module_name.ts";
import { type DialectReader, FoundTensors, integerScheme, laidOutValues } from "./packed.ts";
import {
  activationProblem,
  onlyScheme,
  type PackedDialect,
  packedTarget,
  type Problem,
  schemeConflicts,
  tailProblem,
  type WrittenPart,
} from "./packed_target.ts";

const BITS = 4;
/** Rows and columns come in whole tiles of the kernel. */
const OUTPUTS = 64, INPUTS = 128;
/** Locks that the kernel takes for every 128 outputs. */
const LOCKS = 16;

/**
 * The target that writes Marlin checkpoints.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveScheme } from "../lookup.ts";
 * import { marlinTarget } from "./marlin.ts";
 * const scheme = resolveScheme({ base: "int4_g128_sym", scale_format: "float16" });
 * const storage = { kind: "coded" as const, scheme };
 * const fit = marlinTarget().fit({ name: "x.weight", shape: [64, 256], storage, linear: true });
 * assertEquals(fit.ok && fit.layout, "marlin_int4");
 * ```
 */
export function marlinTarget(tools: TargetTools = {}): Target {
  return packedTarget(DIALECT, tools);
}

const DIALECT: PackedDialect = {
  id: "marlin",
  summary: "int4 weights in the tiles of Marlin kernels, for vLLM",
  problem: (tensor, scheme) =>
    activationProblem(DIALECT, tensor) ?? schemeProblem(tensor, scheme) ??
      tailProblem(tensor, scheme),
  layout: () => "marlin_int4",
  parts,
  conflicts: (tensors) => schemeConflicts(tensors, "gptq or lowbit"),
  config(tensors, { provenance }) {
    const { granularity } = onlyScheme(tensors);
    return {
      bits: BITS,
      checkpoint_format: "marlin",
      desc_act: false,
      group_size: granularity.kind === "group" ? granularity.size : -1,
      is_marlin_format: true,
      lm_head: tensors.some(({ name, storage }) =>
        name === "lm_head.weight" && storage.kind === "coded"
      ),
      meta: { quantizer: [`lowbit:${provenance.lowbit}`] },
      quant_method: "gptq",
      sym: true,
    };
  },
};

function schemeProblem(
  { shape: [rows, columns] }: PlannedTensor,
  { element, granularity, scale, zero_point }: ResolvedScheme,
): Problem | undefined {
  const advice = "choose int4_g128_sym or int4_channel_sym with scale_format: float16";
  const plain = element.family === "int" && element.fraction === 0 && element.bits === BITS &&
    element.signed && !zero_point;
  if (!plain) return [`marlin has no elements of ${element.id}`, advice];
  const fine = granularity.kind === "channel" ||
    (granularity.kind === "group" && granularity.size === 128);
  if (!fine) return ["marlin has scales by channel or by groups of 128", advice];
  if (scale.rule === "none" || scale.second || scale.format !== "float16") {
    return [`marlin has no scales of ${scale.format}`, advice];
  }
  if (rows % OUTPUTS !== 0 || columns % INPUTS !== 0) {
    const problem = `its ${rows} x ${columns} are not whole tiles of ${OUTPUTS} x ${INPUTS}`;
    return [problem, "keep it in full precision"];
  }
}

function scaleLayout(groups: number): string {
  return groups === 1 ? "marlin_channel_scales" : "marlin_scales";
}

function parts(
  { name, shape: [rows, columns] }: PlannedTensor,
  scheme: ResolvedScheme,
  { kernels }: TargetTools,
): WrittenPart[] {
  const module = moduleName(name);
  const { gridColumns: groups } = tiling(scheme.granularity, rows, columns);
  const locks = Math.ceil(rows / 128) * LOCKS;
  return [
    {
      name: `${module}.B`,
      type: "int32",
      shape: [columns / 16, rows * 2],
      bytes: ({ codes }) =>
        packMatrix(kernels, { codes }, { rows, columns, bits: BITS }, layoutOf("marlin_int4")),
    },
    {
      name: `${module}.s`,
      type: "float16",
      shape: [groups, rows],
      bytes: ({ parameters: { scales } }) =>
        packScales("float16", scales, { rows, columns: groups }, layoutOf(scaleLayout(groups))),
    },
    {
      name: `${module}.workspace`,
      type: "int32",
      shape: [locks],
      bytes: () => new Uint8Array(4 * locks),
    },
  ];
}

/** The names of the parts: those of Marlin, and those of AutoAWQ's version marlin. */
const NAMES = [["B", "s"], ["qweight", "scales"]] as const;

/** The packed weights of a Marlin checkpoint. Errors: `MALFORMED`, `NOT_FOUND`. */
export const marlinTensors: DialectReader = (directory, _config, _file, tools) => {
  const found = new FoundTensors();
  for (const [codes, scales] of NAMES) {
    for (const name of directory.names().filter((name) => name.endsWith(`.${codes}`))) {
      addWeight(found, directory, name.slice(0, -codes.length - 1), [codes, scales], tools);
    }
  }
  return Promise.resolve(found);
};

function addWeight(
  found: FoundTensors,
  directory: DirectoryTensors,
  module: string,
  [codesName, scalesName]: readonly [string, string],
  tools: Tools,
): void {
  const codes = directory.part(`${module}.${codesName}`, ["int32"]);
  const [tiles, words] = codes.place.shape;
  const [columns, rows] = [tiles * 16, words / 2];
  const scales = directory.part(`${module}.${scalesName}`, ["float16"]);
  const { place: { shape: [groups, outputs], type } } = scales;
  const whole = codes.place.shape.length === 2 && outputs === rows && groups > 0 &&
    rows % OUTPUTS === 0 && columns % groups === 0;
  if (!whole) {
    throw new LowbitError("MALFORMED", `has scales of [${scales.place.shape}]`, {
      file: codes.place.source.name,
      field: codes.place.name,
    });
  }
  const others = [scales];
  const workspace = `${module}.workspace`;
  if (directory.has(workspace)) others.push(directory.part(workspace, ["int32"]));
  found.add({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: integerScheme({
      dialect: "marlin",
      bits: BITS,
      symmetric: true,
      granularity: groups === 1 ? { kind: "channel" } : { kind: "group", size: columns / groups },
      format: type,
      source: "Marlin, arXiv 2408.11743",
    }),
    layout: layoutOf("marlin_int4"),
    codes,
    others,
    values: {
      scales: laidOutValues(
        scales,
        type,
        { rows, columns: groups },
        layoutOf(scaleLayout(groups)),
      ),
    },
  }, tools);
}
