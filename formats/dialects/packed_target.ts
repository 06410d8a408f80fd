/**
 * Writing packed weights: what the targets over safetensors directories share. A dialect says which
 * tensors a weight becomes, with which bytes, and what its `quantization_config` is.
 *
 * @module
 */

import {
  type Fit,
  LowbitError,
  type PlainType,
  type PlannedTensor,
  type QuantizedTensor,
  type ResolvedScheme,
  type SideKind,
  type Target,
  type TargetArguments,
  type TargetWriter,
} from "../../spec/mod.ts";
import { entryBytes, type SafetensorsEntry, writeSafetensors } from "../containers/safetensors.ts";
import { checkPlan, checkQuantized, noVectors, plainBytes, Plan, refuseSide } from "./check.ts";
import { withoutQuantization, writeSettings } from "./directory.ts";
import { moduleName } from "./module_name.ts";
import type { TargetTools } from "./lowbit.ts";

/** Why a tensor does not fit, and what to do. */
export type Problem = [problem: string, advice: string];

/** A tensor that is a part of a packed weight. */
export interface WrittenPart {
  /** Its name. */
  name: string;
  /** Its type. */
  type: PlainType;
  /** Its shape. */
  shape: number[];
  /** Its bytes. */
  bytes(tensor: QuantizedTensor): Uint8Array;
}

/** A dialect that is written into one safetensors file. */
export interface PackedDialect {
  /** What `--to` calls it. */
  id: string;
  /** One line: who reads it. */
  summary: string;
  /** Why it cannot hold a weight (of a linear, with two dimensions) of this scheme. */
  problem(tensor: PlannedTensor, scheme: ResolvedScheme): Problem | undefined;
  /** The layout of the codes of a weight that it holds. */
  layout(scheme: ResolvedScheme, tensor: PlannedTensor): string;
  /** The parts of a weight that it holds, in file order. */
  parts(tensor: PlannedTensor, scheme: ResolvedScheme, tools: TargetTools): WrittenPart[];
  /** Conflicts between tensors, beside those that every dialect has. */
  conflicts?(tensors: readonly PlannedTensor[]): { problem: string; advice: string }[];
  /** The side tensors that its parts hold; none if absent. */
  sides?: readonly SideKind[];
  /** The `quantization_config`. */
  config(tensors: readonly PlannedTensor[], args: TargetArguments): Record<string, unknown>;
  /** The texts of further files, by name. */
  files?(tensors: readonly PlannedTensor[]): Record<string, string>;
}

/** The target that writes a dialect. */
export function packedTarget(dialect: PackedDialect, tools: TargetTools): Target {
  const { id, summary } = dialect;
  const fit = (tensor: PlannedTensor) => fitOf(dialect, tensor, tools);
  const conflicts = (tensors: readonly PlannedTensor[]) => conflictsOf(dialect, tensors);
  return {
    id,
    summary,
    naming: "huggingface",
    output: "directory",
    ...(dialect.sides && { sides: dialect.sides }),
    fit,
    conflicts,
    create: (args) => create(dialect, { fit, conflicts }, args, tools),
  };
}

function fitOf(dialect: PackedDialect, tensor: PlannedTensor, tools: TargetTools): Fit {
  if (tensor.storage.kind === "plain") {
    if (!tensor.activation) return { ok: true, bytes: plainBytes(tensor) };
    return {
      ok: false,
      problem: "quantised activations need a quantised weight here",
      advice: "give its weight a scheme as well",
    };
  }
  if (tensor.storage.kind === "vector") return noVectors(dialect.id);
  const { scheme } = tensor.storage;
  const misfit = tensorProblem(tensor) ?? dialect.problem(tensor, scheme);
  if (misfit) return { ok: false, problem: misfit[0], advice: misfit[1] };
  const parts = dialect.parts(tensor, scheme, tools);
  const bytes = parts.reduce((sum, part) => sum + entryBytes(part), 0);
  return { ok: true, layout: dialect.layout(scheme, tensor), bytes };
}

function tensorProblem({ name, shape, linear }: PlannedTensor): Problem | undefined {
  if (linear && name.endsWith(".weight") && shape.length === 2) return undefined;
  return ["is not the weight of a linear", "keep it in full precision"];
}

/** Refuses quantised activations, for dialects of weights alone. */
export function activationProblem(
  { id }: PackedDialect,
  tensor: PlannedTensor,
): Problem | undefined {
  if (!tensor.activation) return undefined;
  return [
    `${id} cannot say activations of ${tensor.activation.id}`,
    "leave activations as they are",
  ];
}

/** Refuses columns that are no whole groups. */
export function tailProblem({ shape }: PlannedTensor, scheme: ResolvedScheme): Problem | undefined {
  const { granularity } = scheme;
  if (granularity.kind !== "group" || shape[1] % granularity.size === 0) return undefined;
  return [
    `its ${shape[1]} columns are not whole groups of ${granularity.size}`,
    "choose a group size that divides, or keep it in full precision",
  ];
}

function conflictsOf(dialect: PackedDialect, tensors: readonly PlannedTensor[]) {
  if (tensors.some((tensor) => tensor.storage.kind === "coded")) {
    return dialect.conflicts?.(tensors) ?? [];
  }
  return [{
    problem: `no tensor is quantised, so there is nothing for ${dialect.id} to say`,
    advice: "write with --to lowbit, or select some linears",
  }];
}

/** A conflict if the weights have several schemes, for dialects that name one for all. */
export function schemeConflicts(
  tensors: readonly PlannedTensor[],
  what: string,
): { problem: string; advice: string }[] {
  const ids = new Set(
    tensors.flatMap(({ storage }) =>
      storage.kind === "coded" ? [JSON.stringify(storage.scheme)] : []
    ),
  );
  if (ids.size <= 1) return [];
  return [{
    problem: `has one scheme for all weights, not ${ids.size}`,
    advice: `give all weights one scheme, or write with --to ${what}`,
  }];
}

/** The modules of linears that stay plain, by name. */
export function plainModules(tensors: readonly PlannedTensor[]): string[] {
  return tensors.filter(({ storage, linear }) => linear && storage.kind === "plain")
    .map(({ name }) => moduleName(name)).sort();
}

/** The scheme of the coded tensors. */
export function onlyScheme(tensors: readonly PlannedTensor[]): ResolvedScheme {
  for (const { storage } of tensors) if (storage.kind === "coded") return storage.scheme;
  throw new LowbitError("CONFLICT", "no tensor is quantised");
}

async function create(
  dialect: PackedDialect,
  checks: Pick<Target, "fit" | "conflicts">,
  args: TargetArguments,
  tools: TargetTools,
): Promise<TargetWriter> {
  checkPlan(checks, args);
  const config = withoutQuantization(args.config);
  const head = args.tensors.find((tensor) => tensor.name === "lm_head.weight");
  if (head?.storage.kind === "coded" && config.tie_word_embeddings === true) {
    throw new LowbitError("CONFLICT", "is tied to the embedding, which is not quantised", {
      field: head.name,
      advice: "keep lm_head in full precision, or set tie_word_embeddings to false",
    });
  }
  const quantization_config = dialect.config(args.tensors, args);
  await writeSettings(args, { ...config, quantization_config });
  for (const [name, text] of Object.entries(dialect.files?.(args.tensors) ?? {})) {
    const file = await args.output.file(name);
    await file.write(new TextEncoder().encode(text));
    await file.close();
  }
  const parts = new Map(
    args.tensors.map((tensor) => [
      tensor.name,
      tensor.storage.kind === "coded" ? dialect.parts(tensor, tensor.storage.scheme, tools) : [],
    ]),
  );
  const entries = args.tensors.flatMap((tensor): SafetensorsEntry[] =>
    tensor.storage.kind === "plain"
      ? [{ name: tensor.name, type: tensor.storage.type, shape: tensor.shape }]
      : parts.get(tensor.name)!.map(({ name, type, shape }) => ({ name, type, shape }))
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
      refuseSide(dialect.id, name, tensor, dialect.sides);
      for (const part of parts.get(name)!) await writer.write(part.name, part.bytes(tensor));
    },
    async finish() {
      plan.finish();
      await writer.finish();
    },
  };
}
