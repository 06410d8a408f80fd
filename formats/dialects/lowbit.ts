/**
 * The dialect "lowbit": any scheme, over a Hugging Face directory.
 *
 * `model.safetensors` has plain tensors under their own names and, for a coded tensor NAME,
 * `NAME.codes` (U8, rows of the layout `lowbit_dense`), `NAME.scales` (in the format of the scale;
 * formats of 8 bits or fewer as U8 codes, of 16 as U16) and `NAME.zeros` (integer zero points as
 * dense rows of codes, real ones and minima in the format of the scale). Scales with a second level
 * have `NAME.scales`, `NAME.minima`, `NAME.over`, `NAME.over_minima` and `NAME.offset`, as
 * `StoredScales` says. `lowbit_vector.ts` has the parts of vector tensors. The metadata entry
 * `lowbit` describes every coded tensor with its whole scheme or format. Side tensors
 * `NAME.sparse.rows|columns|values` (indices U16 or U32, values F16 where exact, or F32) and
 * `NAME.low_rank.left|right`, and the rotations of `lowbit_rotation.ts`, are in `model.side.safetensors`.
 *
 * @module
 */

import {
  type Codecs,
  type Fit,
  type Kernels,
  type PlannedTensor,
  type QuantizedTensor,
  type ResolvedScheme,
  streamBytes,
  type Target,
  type TargetArguments,
  type TargetWriter,
  tiling,
  type VectorFormat,
  vectorMisfit,
} from "../../spec/mod.ts";
import {
  entryBytes,
  type SafetensorsEntry,
  safetensorsHeader,
  type SafetensorsWriter,
  writeSafetensors,
} from "../containers/safetensors.ts";
import { encodeScales, scaleStorageType } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import { parameterParts, partValues } from "../parameter_parts.ts";
import { packMatrix } from "../pack.ts";
import {
  checkPlan,
  checkQuantized,
  checkShape,
  matrixShape,
  plainBytes,
  Plan,
  zeroCodes,
} from "./check.ts";
import { withoutQuantization, writeSettings } from "./directory.ts";
import { formatLowbitMetadata, LOWBIT_LAYOUT, type LowbitMetadata } from "./lowbit_metadata.ts";
import { inputEntries } from "./input_scales.ts";
import { inputNames, packsZeros, PART_NAMES, storedPart } from "./lowbit_parts.ts";
import { SideWriter } from "./lowbit_side.ts";
import { vectorEntries, writeVector } from "./lowbit_vector.ts";

/** What targets are made with. Without kernels, packing is done in plain TypeScript. */
export interface TargetTools {
  /** Packs. */
  kernels?: Kernels;
  /** Not needed by the targets here; accepted so that all are made alike. */
  codecs?: Codecs;
}

/**
 * The target that writes the dialect "lowbit".
 *
 * @example
 * ```ts
 * import { lowbitTarget } from "./lowbit.ts";
 * import { resolveScheme } from "../lookup.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("nf4_b64") };
 * lowbitTarget({}).fit({ name: "x", shape: [2, 100], storage, linear: true });
 * // { ok: true, layout: "lowbit_dense", bytes: 116 }: 2 x 50 of codes, 2 x 2 scales of 4
 * ```
 */
export function lowbitTarget(tools: TargetTools = {}): Target {
  return {
    id: "lowbit",
    summary: "any scheme; read by lowbit, described by itself",
    naming: "huggingface",
    output: "directory",
    transforms: true,
    sides: ["sparse", "low_rank", "rotation", "order"],
    fit,
    conflicts,
    create: (args) => create(args, tools),
  };
}

function fit(tensor: PlannedTensor): Fit {
  const { storage, shape } = tensor;
  if (tensor.activation?.timing === "static" && storage.kind !== "coded") {
    return {
      ok: false,
      problem: "static scales of inputs are stored beside a coded weight",
      advice: "give its weight a scheme, or use a dynamic scheme",
    };
  }
  if (storage.kind === "plain") return { ok: true, bytes: plainBytes(tensor) };
  if (!matrixShape(shape)) {
    return {
      ok: false,
      problem: `has ${shape.length} dimensions, coded tensors have 2`,
      advice: "keep it in full precision",
    };
  }
  if (storage.kind === "vector") return fitVector(tensor, storage.format);
  if (storage.scheme.element.bits > 8) {
    return {
      ok: false,
      problem: `has elements of ${storage.scheme.element.bits} bits`,
      advice: "use a number format of 8 bits or fewer",
    };
  }
  if (!scaleStorageType(storage.scheme.scale.format)) {
    return {
      ok: false,
      problem: `scales of ${storage.scheme.scale.format} cannot be stored`,
      advice: "use float32, float16, bfloat16 or a number format of 8 bits or fewer",
    };
  }
  const bytes = parts(tensor, storage.scheme).reduce((sum, part) => sum + entryBytes(part), 0);
  return { ok: true, layout: LOWBIT_LAYOUT, bytes };
}

function fitVector({ name, shape: [rows, columns] }: PlannedTensor, format: VectorFormat): Fit {
  const misfit = vectorMisfit(format, rows, columns);
  if (misfit) return { ok: false, problem: misfit.problem, advice: misfit.advice! };
  const entries = vectorEntries(name, format, rows, columns);
  return {
    ok: true,
    layout: LOWBIT_LAYOUT,
    bytes: entries.reduce((sum, part) => sum + entryBytes(part), 0),
  };
}

function conflicts(tensors: readonly PlannedTensor[]): { problem: string; advice: string }[] {
  const seen = new Set<string>();
  const found: { problem: string; advice: string }[] = [];
  for (const tensor of tensors) {
    if (!fit(tensor).ok) continue;
    for (const { name } of entriesOf(tensor)) {
      if (seen.has(name)) {
        found.push({
          problem: `two tensors would be called ${JSON.stringify(name)}`,
          advice: "rename one of them",
        });
      }
      seen.add(name);
    }
  }
  return found;
}

/** The tensors that a planned tensor becomes. */
function entriesOf(tensor: PlannedTensor): SafetensorsEntry[] {
  const { name, shape, storage } = tensor;
  switch (storage.kind) {
    case "plain":
      return [{ name, type: storage.type, shape }];
    case "coded":
      return parts(tensor, storage.scheme);
    case "vector":
      return vectorEntries(name, storage.format, shape[0], shape[1]);
  }
}

/** Codes and parameters of a coded tensor. */
function parts(
  { name, shape, activation }: PlannedTensor,
  scheme: ResolvedScheme,
): SafetensorsEntry[] {
  const [rows, columns] = shape;
  const { bits } = scheme.element;
  const tiles = tiling(scheme.granularity, rows, columns);
  return [
    { name: `${name}.codes`, type: "uint8", shape: [rows, streamBytes(columns, bits)] },
    ...parameterParts(scheme, tiles).map((part) => ({
      name: `${name}.${PART_NAMES[part.name]}`,
      ...storedPart(scheme, part),
    })),
    ...inputEntries(inputNames(name), activation).map(({ name, type, shape }) => ({
      name,
      type,
      shape,
    })),
  ];
}

async function create(args: TargetArguments, tools: TargetTools): Promise<TargetWriter> {
  checkPlan({ fit, conflicts }, args);
  await writeSettings(args, withoutQuantization(args.config));
  const metadata = metadataOf(args);
  const entries = args.tensors.flatMap(entriesOf);
  const header = (side: boolean, rotations = false) => {
    const text = formatLowbitMetadata({ ...metadata, side, rotations });
    return new Map([["format", "pt"], ["lowbit", text]]);
  };
  const sink = await args.output.file("model.safetensors");
  const writer = await writeSafetensors(sink, entries, header(false));
  const plan = new Plan(args.tensors);
  const side = new SideWriter(args);
  return {
    async plain(name, bytes) {
      plan.take(name, "plain");
      await writer.write(name, bytes);
    },
    async coded(name, tensor) {
      const planned = plan.take(name, "coded");
      checkQuantized(planned, tensor);
      await writeParts(writer, name, tensor, tools.kernels);
      for (const entry of inputEntries(inputNames(name), planned.activation)) {
        await writer.write(entry.name, entry.bytes(tensor));
      }
      for (const part of tensor.side ?? []) await side.write(name, part, tensor.shape);
    },
    async vector(name, tensor) {
      const planned = plan.take(name, "vector");
      checkShape(planned, tensor);
      await writeVector(writer, name, tensor);
      for (const part of tensor.side ?? []) await side.write(name, part, tensor.shape);
    },
    async finish() {
      plan.finish();
      if (side.used) {
        // The header says whether there are side tensors; both texts have the same length.
        await sink.patch(0, safetensorsHeader(entries, header(true, side.rotations)));
        await side.finish();
      }
      await writer.finish();
    },
  };
}

function metadataOf(args: TargetArguments): LowbitMetadata {
  const tensors: LowbitMetadata["tensors"] = new Map(
    args.tensors.flatMap(({ name, shape, storage }) => {
      if (storage.kind !== "coded") return [];
      const [rows, columns] = shape;
      return [[name, { scheme: storage.scheme, layout: LOWBIT_LAYOUT, shape: [rows, columns] }]];
    }),
  );
  const vectors: LowbitMetadata["vectors"] = new Map(
    args.tensors.flatMap(({ name, shape, storage }) => {
      if (storage.kind !== "vector") return [];
      return [[name, { format: storage.format, shape: [shape[0], shape[1]] }]];
    }),
  );
  const activations = new Map(
    args.tensors.flatMap(({ name, activation }) => activation ? [[name, activation]] : []),
  );
  const { transforms = [], provenance } = args;
  return { tensors, vectors, activations, transforms, side: false, provenance };
}

async function writeParts(
  writer: SafetensorsWriter,
  name: string,
  tensor: QuantizedTensor,
  kernels: Kernels | undefined,
): Promise<void> {
  const { shape: [rows, columns], scheme, codes } = tensor;
  const { bits } = scheme.element;
  const layout = layoutOf(LOWBIT_LAYOUT);
  await writer.write(
    `${name}.codes`,
    packMatrix(kernels, { codes }, { rows, columns, bits }, layout),
  );
  for (const part of parameterParts(scheme, tiling(scheme.granularity, rows, columns))) {
    const values = partValues(tensor.parameters, part)!;
    const [partRows, partColumns] = part.shape;
    const bytes = packsZeros(scheme, part)
      ? packMatrix(
        kernels,
        { codes: zeroCodes(values, bits, name) },
        { rows: partRows, columns: partColumns, bits },
        layout,
      )
      : encodeScales(part.format, values);
    await writer.write(`${name}.${PART_NAMES[part.name]}`, bytes);
  }
}
