/**
 * Conversion: a checkpoint into another container or dialect, one tensor at a time, with a proof.
 *
 * 1. Every tensor gets a storage; codes stay wherever the target has a place for them.
 * 2. The output is written.
 * 3. The output is opened again and every dequantised value is held against the source. What was
 *    promised to be the same and is not, stops the conversion; what may differ is measured.
 *
 * The output gets its name only after that.
 *
 * @module
 */

import {
  type Checkpoint,
  type Codecs,
  type EventSink,
  type FileHash,
  type ImportanceMatrix,
  isVector,
  type Kernels,
  LowbitError,
  type Output,
  type SchemeReference,
  type Stage,
  storageLabel,
  type Target,
  type TargetArguments,
} from "../../spec/mod.ts";
import { openCheckpoint } from "../../formats/open.ts";
import { regrid } from "../../formats/regrid.ts";
import { openModel } from "../../models/architecture.ts";
import { inverseRows, permuteQuantized } from "../../models/rows.ts";
import { fileValues } from "../../models/views.ts";
import { parameterTensor } from "../../models/weights.ts";
import { hashSources } from "../hash.ts";
import { plainBytes } from "../plain.ts";
import { targetArguments } from "../target_arguments.ts";
import { VERSION } from "../version.ts";
import { type Choice, choose, chunks, type ConversionKind, lossyAdvice } from "./choose.ts";
import { type AddedError, Difference } from "./difference.ts";
import { type ConvertItem, convertItems } from "./items.ts";
import type { WantedOf } from "./wanted.ts";

/** What a conversion needs. */
export interface ConvertArguments {
  /** What is converted. */
  checkpoint: Checkpoint;
  /** What it becomes. */
  target: Target;
  /** What a tensor shall become, where the user asks for something. */
  wanted?: WantedOf;
  /** Schemes to quantise anew with where codes cannot be kept. */
  fallbacks?: readonly SchemeReference[];
  /** The importance of input channels, for what is quantised anew. */
  importance?: ImportanceMatrix;
  /** Whether values may change. */
  lossy?: boolean;
  /** Where it is written; absent for a plan. */
  output?: Output;
  /** Stops the conversion; nothing is left at the output. */
  signal?: AbortSignal;
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on them. */
  codecs: Codecs;
  /** Takes progress and warnings. */
  onEvent?: EventSink;
}

/** One tensor of a conversion, as `--json` and the record have it. */
export interface ConvertedTensor {
  /** Its name in the output. */
  name: string;
  /** What it was. */
  from: string;
  /** What it is. */
  to: string;
  /** The layout of its codes, if it has codes. */
  layout?: string;
  /** What became of it. */
  kind: ConversionKind;
  /** How that is known. */
  proof: string;
  /** Values that were compared; 0 in a plan for what is known without. */
  values: number;
  /** The largest added error. */
  max_error: number;
  /** The mean added error. */
  mean_error: number;
  /** The added error relative to the values, root of mean squares. */
  relative_error: number;
}

/** A conversion, planned or done. */
export interface ConversionResult {
  /** The source. */
  source: string;
  /** Its container and dialect. */
  from: string;
  /** The id of the target. */
  target: string;
  /** Whether it was written. */
  written: boolean;
  /** How many tensors became what. */
  summary: Record<ConversionKind, number>;
  /** Bytes of tensors in the output. */
  bytes: number;
  /** What is worth saying. */
  warnings: string[];
  /** Every tensor. */
  tensors: ConvertedTensor[];
  /** The files that were read, and those that were written. */
  files?: { source: FileHash[]; output: FileHash[] };
}

/** The file in which a directory keeps how it was converted, with the errors of each tensor. */
export const CONVERSION_FILE = "conversion.json";

/**
 * Plans a conversion, and writes and proves it if there is an output. On any error nothing is left
 * at the output.
 *
 * Errors: `CONFLICT` (the target cannot hold a tensor; values would change and `lossy` was not
 * given), `NUMERICS` (what was written does not read back), and those of reading.
 */
export async function convertCheckpoint(args: ConvertArguments): Promise<ConversionResult> {
  try {
    return await convert(args);
  } catch (error) {
    await args.output?.abort();
    throw error;
  }
}

async function convert(args: ConvertArguments): Promise<ConversionResult> {
  const { checkpoint, target, output } = args;
  const warnings: string[] = [];
  const onWarning = (message: string) => {
    warnings.push(message);
    args.onEvent?.({ event: "warning", message });
  };
  const progress = (stage: Stage, done: number, total: number) => {
    args.signal?.throwIfAborted();
    args.onEvent?.({ event: "progress", stage, done, total });
  };
  const { items, model, left } = convertItems(checkpoint, target, args.importance);
  if (left.length > 0) {
    onWarning(`${left.length} tensors are no part of the model and stay out, as ${left[0]}`);
  }
  if (checkpoint.transforms?.length && !target.transforms) {
    throw new LowbitError("CONFLICT", `${target.id} cannot say what its blocks do more`, {
      file: checkpoint.name,
      advice: "convert with --to lowbit",
    });
  }
  const { choices, refusals } = await choose(items, {
    target,
    codecs: args.codecs,
    wanted: args.wanted?.(items) ?? (() => undefined),
    fallbacks: args.fallbacks ?? [],
    activations: checkpoint.activations ?? new Map(),
    onWarning,
    onProgress: (done) => progress("compare", done, items.length),
  });
  refuse(checkpoint, target, choices, refusals, args.lossy === true || output === undefined);
  const conversion = (tensors: ConvertedTensor[]): ConversionResult => ({
    source: checkpoint.name,
    from: checkpoint.kind,
    target: target.id,
    written: output !== undefined,
    summary: count(tensors),
    bytes: choices.reduce((sum, { planned }) => {
      const fit = target.fit(planned);
      return sum + (fit.ok ? fit.bytes : 0);
    }, 0),
    warnings,
    tensors,
  });
  if (!output) return conversion(choices.map((choice) => report(target, choice)));

  const tensors = choices.map(({ planned }) => planned);
  const writer = await target.create(settings());
  for (const [i, choice] of choices.entries()) {
    await write(choice, args, writer);
    progress("write", i + 1, choices.length);
  }
  await writer.finish();
  const proven = await prove(choices, args, (done) => progress("prove", done, choices.length));
  const done = conversion(proven);
  const { result: written } = await hashed(output);
  done.files = { source: await hashSources(checkpoint.files), output: written };
  if (target.output === "directory") {
    const sink = await output.file(CONVERSION_FILE);
    await sink.write(new TextEncoder().encode(JSON.stringify(done, null, 2) + "\n"));
    await sink.close();
  }
  await output.commit();
  return done;

  function settings(): TargetArguments {
    if (checkpoint.naming !== target.naming) {
      const recipe = { name: "convert" };
      return targetArguments(model!, recipe, output!, tensors, target.naming === "gguf");
    }
    return {
      output: output!,
      source: checkpoint,
      config: { ...checkpoint.config },
      sidecars: checkpoint.sidecars,
      ...(checkpoint.gguf && { gguf: checkpoint.gguf }),
      tensors,
      ...(checkpoint.transforms && { transforms: checkpoint.transforms }),
      provenance: { lowbit: VERSION, recipe: "convert" },
    };
  }
}

async function hashed(output: Output): Promise<{ result: FileHash[] }> {
  const sources = await output.written();
  try {
    return { result: await hashSources(sources) };
  } finally {
    for (const source of sources) source.close();
  }
}

/** One error for everything that stands in the way. */
function refuse(
  { name: file }: Checkpoint,
  target: Target,
  choices: readonly Choice[],
  refusals: readonly { where: string; problem: string; advice: string }[],
  lossy: boolean,
): void {
  const [first] = refusals;
  const more = (count: number) => count > 0 ? ` (and ${count} more tensors)` : "";
  if (first) {
    const problem = first.problem + more(refusals.length - 1);
    throw new LowbitError("CONFLICT", problem, { file, field: first.where, advice: first.advice });
  }
  const [conflict] = target.conflicts(choices.map(({ planned }) => planned));
  if (conflict) {
    const plain = !choices.some(({ planned }) => planned.storage.kind !== "plain");
    const advice = plain
      ? `quantise it: \`lowbit quantize ... --to ${target.id}\`, or name a scheme: --to ${target.id}:SCHEME`
      : conflict.advice;
    throw new LowbitError("CONFLICT", conflict.problem, { file, advice });
  }
  const changed = choices.filter(({ kind }) => kind === "lossy");
  if (lossy || changed.length === 0) return;
  const worst = changed.reduce((a, b) => relative(b) > relative(a) ? b : a);
  throw new LowbitError(
    "CONFLICT",
    `its values would change from ${storageLabel(worst.item.tensor.storage)} to ${
      storageLabel(worst.planned.storage)
    }, with an added error of ${relative(worst).toPrecision(3)}${more(changed.length - 1)}`,
    {
      file,
      field: worst.planned.name,
      advice: lossyAdvice(worst),
    },
  );
}

function relative({ error }: Choice): number {
  return error?.relative ?? 0;
}

function count(tensors: readonly ConvertedTensor[]): Record<ConversionKind, number> {
  const of = (wanted: ConversionKind) => tensors.filter(({ kind }) => kind === wanted).length;
  return { preserved: of("preserved"), exact: of("exact"), lossy: of("lossy") };
}

function report(target: Target, choice: Choice, proven?: AddedError, proof?: string) {
  const { item, planned, kind } = choice;
  const fit = target.fit(planned);
  const error = proven ?? choice.error;
  const known = error ? "compared before writing" : "the same bytes, or every value in f32";
  return {
    name: planned.name,
    from: storageLabel(item.tensor.storage),
    to: storageLabel(planned.storage),
    ...(fit.ok && fit.layout && { layout: fit.layout }),
    kind,
    proof: proof ?? known,
    values: error?.values ?? 0,
    max_error: error?.max ?? 0,
    mean_error: error?.mean ?? 0,
    relative_error: error?.relative ?? 0,
  };
}

/** Writes one tensor. */
async function write(
  { item, planned, way }: Choice,
  { codecs, kernels }: ConvertArguments,
  writer: Awaited<ReturnType<Target["create"]>>,
): Promise<void> {
  const { tensor, view } = item;
  const { name, storage } = planned;
  if (storage.kind === "vector") return await writer.vector!(name, await tensor.vector!());
  if (storage.kind === "coded") {
    const made = await codedTensor();
    return await writer.coded(
      name,
      view?.order ? permuteQuantized(made, inverseRows(view.order())) : made,
    );
  }
  if (way === "copy" && !item.moved) return await writer.plain(name, await tensor.raw());
  const values = await tensor.read();
  const stored = fileValues(values, tensor.shape, view);
  await writer.plain(name, plainBytes(kernels, stored, storage.type));

  async function codedTensor() {
    const { scheme } = storage as { scheme: Parameters<Codecs["get"]>[0] };
    if (way === "requantise") {
      const [rows, columns] = tensor.shape;
      return codecs.get(scheme).quantize(await tensor.read(), rows, columns, item.importance);
    }
    const made = regrid(await tensor.quantized(), scheme);
    if ("tensor" in made && !isVector(made.tensor)) return made.tensor;
    throw new LowbitError("NUMERICS", "could not be made again", {
      field: name,
      advice: "report it, with the checkpoint and the target",
    });
  }
}

/** Opens what was written and compares every value with the source. */
async function prove(
  choices: readonly Choice[],
  args: ConvertArguments,
  onProgress: (done: number) => void,
): Promise<ConvertedTensor[]> {
  const { checkpoint, target, kernels, codecs } = args;
  const sources = await args.output!.written();
  try {
    const written = await reopened();
    if (!written) {
      return choices.map((choice) =>
        report(target, choice, undefined, "decoded from what was written")
      );
    }
    const named = ({ planned }: Choice) => checkpoint.naming === target.naming && !planned.part;
    const model = choices.every(named) ? undefined : openModel(written);
    const tensors: ConvertedTensor[] = [];
    for (const choice of choices) {
      const { item, planned: { name } } = choice;
      const read = named(choice) ? written.tensors.get(name) : parameterTensor(model!, item.id!);
      if (!read) {
        throw new LowbitError("NUMERICS", "is not in what was written", {
          field: name,
          advice: "report it, with the checkpoint and the target",
        });
      }
      const error = await compare(item, read);
      if (error.different > 0 && choice.kind !== "lossy") refuseChange(choice, error);
      tensors.push(report(target, choice, error, "every value of the output, read back"));
      onProgress(tensors.length);
    }
    return tensors;
  } finally {
    for (const source of sources) source.close();
  }

  async function reopened(): Promise<Checkpoint | undefined> {
    try {
      return await openCheckpoint(sources, { kernels, codecs });
    } catch (error) {
      // A target without a reader here.
      if (error instanceof LowbitError && error.code === "UNSUPPORTED") return undefined;
      throw error;
    }
  }

  function refuseChange(choice: Choice, error: AddedError): void {
    if (args.lossy) {
      choice.kind = "lossy";
      return;
    }
    throw new LowbitError(
      "CONFLICT",
      `${error.different} of ${error.values} values read back otherwise, by at most ${error.max}`,
      { file: target.id, field: choice.planned.name, advice: "allow it with --lossy" },
    );
  }
}

async function compare(item: ConvertItem, written: ConvertItem["tensor"]): Promise<AddedError> {
  const difference = new Difference();
  const other = chunks(written);
  for await (const values of chunks(item.tensor)) {
    const { value } = await other.next();
    difference.add(values, value ?? new Float32Array(0));
  }
  return difference.error;
}
