/**
 * The dialect "compressed-tensors", format `pack-quantized`: integers of 4 and 8 bits by group or
 * channel, as `transformers` and vLLM load them.
 *
 * A linear `X` has `X.weight_packed` (I32, rows of codes in offset binary), `X.weight_scale`,
 * `X.weight_shape` (I64) and, if asymmetric, `X.weight_zero_point` (I32, packed along the rows).
 *
 * @module
 */

import {
  type Fit,
  LowbitError,
  type PlainType,
  type PlannedTensor,
  type ResolvedScheme,
  streamBytes,
  type Target,
  type TargetArguments,
  type TargetWriter,
  tiling,
} from "../../spec/mod.ts";
import { encodeInt64 } from "../containers/plain.ts";
import { entryBytes, type SafetensorsEntry, writeSafetensors } from "../containers/safetensors.ts";
import { encodeScales } from "../containers/scales.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { checkPlan, checkQuantized, plainBytes, Plan, refuseSide, zeroCodes } from "./check.ts";
import { quantizationConfig } from "./compressed_tensors_config.ts";
import { withoutQuantization, writeSettings } from "./directory.ts";
import type { TargetTools } from "./lowbit.ts";

/**
 * The target that writes `pack-quantized` checkpoints of compressed-tensors.
 *
 * @example
 * ```ts
 * import { compressedTensorsTarget } from "./compressed_tensors.ts";
 * import { resolveScheme } from "../lookup.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("int4_g32_sym") };
 * compressedTensorsTarget({}).fit({ name: "x.weight", shape: [2, 33], storage, linear: true }).ok;
 * // false: 33 columns are not whole groups of 32
 * ```
 */
export function compressedTensorsTarget(tools: TargetTools = {}): Target {
  return {
    id: "compressed-tensors",
    summary: "int4 and int8 weights for transformers and vLLM (pack-quantized)",
    naming: "huggingface",
    output: "directory",
    fit,
    conflicts,
    create: (args) => create(args, tools),
  };
}

function fit(tensor: PlannedTensor): Fit {
  if (tensor.storage.kind === "plain") {
    if (!tensor.activation) return { ok: true, bytes: plainBytes(tensor) };
    return {
      ok: false,
      problem: "quantised activations need a quantised weight here",
      advice: "give its weight an int4 or int8 scheme",
    };
  }
  const { scheme } = tensor.storage;
  const misfit = tensorProblem(tensor) ?? schemeProblem(scheme) ?? tailProblem(tensor, scheme) ??
    activationProblem(tensor.activation);
  if (misfit) return { ok: false, problem: misfit[0], advice: misfit[1] };
  const bytes = parts(tensor, scheme).reduce((sum, part) => sum + entryBytes(part), 0);
  return { ok: true, layout: layoutId(scheme), bytes };
}

type Problem = [problem: string, advice: string];

function tensorProblem({ name, shape, linear }: PlannedTensor): Problem | undefined {
  if (!linear || !name.endsWith(".weight") || shape.length !== 2) {
    return ["is not the weight of a linear", "keep it in full precision"];
  }
}

function schemeProblem(scheme: ResolvedScheme): Problem | undefined {
  const { element, granularity, scale, zero_point } = scheme;
  const advice = "choose an int4 or int8 scheme by group or channel";
  const plain = element.family === "int" && element.fraction === 0 &&
    (element.bits === 4 || element.bits === 8);
  if (!plain) return [`pack-quantized here has no elements of ${element.id}`, advice];
  if (zero_point?.kind === "minimum") return ["pack-quantized has no minima", advice];
  if (element.signed === (zero_point !== undefined)) {
    return ["pack-quantized has signed codes without zero points, and unsigned with them", advice];
  }
  if (granularity.kind !== "group" && granularity.kind !== "channel") {
    return [`pack-quantized here has no scales by ${granularity.kind}`, advice];
  }
  if (scale.rule === "none" || !SCALE_FORMATS.includes(scale.format)) {
    return [
      `pack-quantized has no scales of ${scale.rule === "none" ? "none" : scale.format}`,
      "store scales as float16, bfloat16 or float32",
    ];
  }
}

const SCALE_FORMATS = ["float32", "float16", "bfloat16"];

function tailProblem({ shape }: PlannedTensor, scheme: ResolvedScheme): Problem | undefined {
  const { granularity } = scheme;
  if (granularity.kind !== "group" || shape[1] % granularity.size === 0) return undefined;
  return [
    `its ${shape[1]} columns are not whole groups of ${granularity.size}`,
    "choose a group size that divides, or keep it in full precision",
  ];
}

function activationProblem(activation: ResolvedScheme | undefined): Problem | undefined {
  if (!activation) return undefined;
  const { element, granularity, zero_point } = activation;
  const fine = element.family === "int" && element.signed && element.bits === 8 &&
    granularity.kind === "token" && !zero_point;
  if (fine) return undefined;
  return [`cannot say activations of ${activation.id}`, "use int8_token, or none"];
}

function conflicts(tensors: readonly PlannedTensor[]): { problem: string; advice: string }[] {
  if (tensors.some((tensor) => tensor.storage.kind === "coded")) return [];
  return [{
    problem: "no tensor is quantised, so there is nothing for compressed-tensors to say",
    advice: "write with --to lowbit, or select some linears",
  }];
}

function layoutId({ zero_point }: ResolvedScheme): string {
  return zero_point ? "compressed_tensors_uint" : "compressed_tensors_int";
}

/** The tensors of a coded weight. */
function parts({ name, shape }: PlannedTensor, scheme: ResolvedScheme): SafetensorsEntry[] {
  const [rows, columns] = shape;
  const { bits } = scheme.element;
  const { gridColumns } = tiling(scheme.granularity, rows, columns);
  const type = scheme.scale.format as PlainType;
  const words = (count: number) => streamBytes(count, bits, 4) / 4;
  const entries: SafetensorsEntry[] = [
    { name: `${name}_packed`, type: "int32", shape: [rows, words(columns)] },
    { name: `${name}_shape`, type: "int64", shape: [2] },
  ];
  if (scheme.zero_point) {
    entries.push({ name: `${name}_zero_point`, type: "int32", shape: [words(rows), gridColumns] });
  }
  entries.push({ name: `${name}_scale`, type, shape: [rows, gridColumns] });
  return entries;
}

async function create(args: TargetArguments, tools: TargetTools): Promise<TargetWriter> {
  checkPlan({ fit, conflicts }, args);
  const config = withoutQuantization(args.config);
  const head = args.tensors.find((tensor) => tensor.name === "lm_head.weight");
  if (head?.storage.kind === "coded" && config.tie_word_embeddings === true) {
    throw new LowbitError("CONFLICT", "is tied to the embedding, which is not quantised", {
      field: head.name,
      advice: "keep lm_head in full precision, or set tie_word_embeddings to false",
    });
  }
  await writeSettings(args, { ...config, quantization_config: quantizationConfig(args.tensors) });
  const entries = args.tensors.flatMap((tensor) =>
    tensor.storage.kind === "plain"
      ? [{ name: tensor.name, type: tensor.storage.type, shape: tensor.shape }]
      : parts(tensor, tensor.storage.scheme)
  );
  const sink = await args.output.file("model.safetensors");
  const writer = await writeSafetensors(sink, entries, new Map([["format", "pt"]]));
  const plan = new Plan(args.tensors);
  return {
    async plain(name, bytes) {
      plan.take(name, "plain");
      await writer.write(name, bytes);
    },
    async coded(name, tensor) {
      checkQuantized(plan.take(name, "coded"), tensor);
      refuseSide("compressed-tensors", name, tensor);
      const { shape: [rows, columns], scheme, codes, parameters: { scales, zeros } } = tensor;
      const size = { rows, columns, bits: scheme.element.bits };
      const packed = packMatrix(tools.kernels, { codes }, size, layoutOf(layoutId(scheme)));
      await writer.write(`${name}_packed`, packed);
      await writer.write(`${name}_shape`, encodeInt64([rows, columns]));
      if (zeros && scheme.zero_point) {
        const grid = { rows, columns: zeros.length / (rows || 1), bits: size.bits };
        const points = { codes: zeroCodes(zeros, size.bits, name) };
        const form = layoutOf("compressed_tensors_zeros");
        await writer.write(`${name}_zero_point`, packMatrix(tools.kernels, points, grid, form));
      }
      await writer.write(`${name}_scale`, encodeScales(scheme.scale.format, scales));
    },
    async finish() {
      plan.finish();
      await writer.finish();
    },
  };
}
