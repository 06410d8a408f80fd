/**
 * The GGUF target: one file, with blocks of ggml and plain floats.
 *
 * @module
 */

import {
  type Fit,
  type GgufValue,
  type Layout,
  LowbitError,
  type PlannedTensor,
  type Target,
  type TargetArguments,
  type TargetWriter,
} from "../../spec/mod.ts";
import { GGUF_LIMITS } from "../containers/gguf.ts";
import { GGML_TYPES_BY_NAME } from "../containers/gguf_types.ts";
import { ggufBytes, type GgufEntry, writeGguf } from "../containers/gguf_writer.ts";
import { elementCount } from "../containers/stored.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { checkPlan, checkQuantized, noVectors, plainType, Plan, refuseSide } from "./check.ts";
import { blockParts, blockType, GGML_CODED } from "./ggml_coded.ts";
import type { TargetTools } from "./lowbit.ts";

/** Plain types that ggml programs read everywhere. */
const PLAIN_TYPES: ReadonlyMap<string, string> = new Map([
  ["float32", "F32"],
  ["float16", "F16"],
  ["bfloat16", "BF16"],
]);

/** `general.file_type` of files of plain types; the numbers of llama.cpp's `LLAMA_FTYPE`. */
const PLAIN_FILE_TYPES: ReadonlyMap<string, number> = new Map([["F32", 0], ["F16", 1], [
  "BF16",
  32,
]]);

/** Bytes of the name of a tensor that ggml keeps, without the final zero. */
const MAX_NAME = 63;

/**
 * The target that writes GGUF files. A scheme fits if its codes and scales are those of a ggml
 * block, however they were chosen: int4 with an f16 scale for each group of 32 is Q4_0.
 *
 * @example
 * ```ts
 * import { ggufTarget } from "./gguf.ts";
 * import { resolveScheme } from "../lookup.ts";
 * const storage = { kind: "coded" as const, scheme: resolveScheme("q4_0") };
 * ggufTarget({}).fit({ name: "blk.0.ffn_up.weight", shape: [2, 64], storage, linear: true });
 * // { ok: true, layout: "ggml_q4_0", bytes: 72 }
 * ```
 */
export function ggufTarget(tools: TargetTools = {}): Target {
  return {
    id: "gguf",
    summary: "blocks of ggml for llama.cpp and its relatives: Q4_0 to Q8_0, K-quants, IQ4, TQ, FP4",
    naming: "gguf",
    output: "file",
    fit,
    conflicts,
    create: (args) => create(args, tools),
  };
}

function fit(tensor: PlannedTensor): Fit {
  const { name, shape, storage } = tensor;
  const no = (problem: string, advice: string): Fit => ({ ok: false, problem, advice });
  if (new TextEncoder().encode(name).length > MAX_NAME) {
    return no(`its name is longer than the ${MAX_NAME} bytes of ggml`, "rename it");
  }
  if (shape.length > GGUF_LIMITS.dimensions) {
    return no(`has ${shape.length} dimensions, more than ${GGUF_LIMITS.dimensions}`, "reshape it");
  }
  if (storage.kind === "plain") {
    const type = PLAIN_TYPES.get(storage.type);
    if (!type) return no(`GGUF has no ${storage.type} for weights`, "store it as float32");
    if (shape.length < 2 && type !== "F32") {
      return no(`llama.cpp computes with vectors in F32, not in ${type}`, "store it as float32");
    }
    return { ok: true, bytes: ggufBytes({ name, shape, type }) };
  }
  if (storage.kind === "vector") return noVectors("GGUF");
  const type = blockType(storage.scheme);
  if (!type) {
    return no(
      `no ggml block holds ${storage.scheme.id}`,
      "use q4_0, q4_k or another scheme of ggml, or int4 and int8 with f16 scales by groups of 32",
    );
  }
  if (shape.length !== 2) return no("is not a matrix", "keep it in full precision");
  const { block } = GGML_TYPES_BY_NAME.get(type)!;
  if (shape[1] % block !== 0) {
    return no(
      `its ${shape[1]} columns are not whole blocks of ${block}`,
      block > 32 ? "use a type of blocks of 32, as q5_0 or iq4_nl" : "keep it in full precision",
    );
  }
  const bytes = ggufBytes({ name, shape, type });
  return { ok: true, layout: GGML_CODED.get(type)!.layout, bytes };
}

function typeOf(tensor: PlannedTensor): string {
  const { storage } = tensor;
  return storage.kind === "coded"
    ? blockType(storage.scheme)!
    : PLAIN_TYPES.get(plainType(tensor))!;
}

/** Experts are stacked: all of one type, one after the other. */
function conflicts(tensors: readonly PlannedTensor[]): ReturnType<Target["conflicts"]> {
  const problems = tensors.flatMap((tensor, i) => {
    const { part, name } = tensor;
    if (!part) return [];
    const next = tensors[i + 1];
    const last = part.index + 1 === part.count;
    const follows = next?.name === name && next.part?.index === part.index + 1;
    if (last ? next?.name === name : !follows) {
      return [{
        problem: `the matrices of ${name} do not come one after the other`,
        advice: "write with --to lowbit",
      }];
    }
    if (last || typeOf(next) === typeOf(tensor)) return [];
    return [{
      problem: `${name} is of one type for all experts, not of ${typeOf(tensor)} and ${
        typeOf(next)
      }`,
      advice: "give the experts of a block one scheme",
    }];
  });
  return problems.slice(0, 1);
}

async function create(args: TargetArguments, tools: TargetTools): Promise<TargetWriter> {
  checkPlan({ fit, conflicts }, args);
  if (!args.gguf) {
    throw new LowbitError("CONFLICT", "there is no GGUF metadata for this model", {
      file: args.output.name,
      advice: "choose another target, or a model whose architecture has a GGUF name",
    });
  }
  const whole = args.tensors.filter(({ part }) => (part?.index ?? 0) === 0);
  const entries = whole.map((tensor): GgufEntry => ({
    name: tensor.name,
    shape: tensor.part ? [tensor.part.count, ...tensor.shape] : tensor.shape,
    type: typeOf(tensor),
  }));
  const sink = await args.output.file("model.gguf");
  const writer = await writeGguf(sink, metadataOf(args.gguf, args.tensors), entries);
  const plan = new Plan(args.tensors);
  return {
    async plain(name, bytes) {
      plan.take(name, "plain");
      await writer.write(name, bytes);
    },
    async coded(name, tensor) {
      const planned = plan.take(name, "coded");
      checkQuantized(planned, tensor);
      refuseSide("GGUF", name, tensor);
      const { shape: [rows, columns], scheme, codes } = tensor;
      const layout: Layout = layoutOf(GGML_CODED.get(typeOf(planned))!.layout);
      const size = { rows, columns, bits: scheme.element.bits };
      const parts = blockParts(tensor, layout);
      const bytes = packMatrix(tools.kernels, { codes, parts }, size, layout);
      await writer.write(name, bytes);
    },
    async finish() {
      plan.finish();
      await writer.finish();
    },
  };
}

/** The given metadata, with the file type and the version of the quantisation. */
function metadataOf(
  given: ReadonlyMap<string, GgufValue>,
  tensors: readonly PlannedTensor[],
): Map<string, GgufValue> {
  const metadata = new Map(given);
  metadata.set("general.file_type", { type: "uint32", value: fileType(tensors) });
  if (tensors.some((tensor) => tensor.storage.kind === "coded")) {
    metadata.set("general.quantization_version", { type: "uint32", value: 2 });
  } else {
    metadata.delete("general.quantization_version");
  }
  return metadata;
}

/**
 * The file type of most of the elements of the matrices that are coded, or of all if none is; where
 * K-quants of more bits are among them, that of the mixture.
 */
function fileType(tensors: readonly PlannedTensor[]): number {
  const coded = tensors.filter((tensor) => tensor.storage.kind === "coded");
  const matrices = tensors.filter((tensor) => tensor.shape.length > 1);
  const counts = new Map<string, number>();
  for (const tensor of coded.length > 0 ? coded : matrices.length > 0 ? matrices : tensors) {
    const type = typeOf(tensor);
    counts.set(type, (counts.get(type) ?? 0) + elementCount(tensor.shape));
  }
  let most = "F32";
  for (const [type, count] of counts) if (count > (counts.get(most) ?? 0)) most = type;
  const row = GGML_CODED.get(most);
  const bits = (type: string) => {
    const { bytes, block } = GGML_TYPES_BY_NAME.get(type)!;
    return type.endsWith("_K") ? bytes / block : 0;
  };
  const mixed = [...counts.keys()].some((type) => bits(type) > bits(most));
  return (mixed ? row?.mixedFileType : undefined) ?? row?.fileType ?? PLAIN_FILE_TYPES.get(most) ??
    0;
}
