/**
 * How each tensor of a conversion is stored, decided by trying: a scheme is chosen only if the codes
 * of every tensor that shares it have been held against the values of the source.
 *
 * @module
 */

import { writtenShape } from "../../models/views.ts";
import {
  type Codecs,
  type PlainType,
  type PlannedTensor,
  type QuantizedTensor,
  type ResolvedScheme,
  type SchemeReference,
  type SideKind,
  sideKind,
  storageLabel,
  type Target,
} from "../../spec/mod.ts";
import { regrid, regridSchemes } from "../../formats/regrid.ts";
import { scaleStorage } from "../../formats/scale_storage.ts";
import { type AddedError, Difference } from "./difference.ts";
import type { ConvertItem } from "./items.ts";

/** What becomes of a tensor: its codes stay, its values stay, or neither. */
export type ConversionKind = "preserved" | "exact" | "lossy";

/** How the codes of a tensor are made. */
export type Way = "copy" | "regrid" | "requantise" | "values";

/** A tensor and what becomes of it. */
export interface Choice {
  /** The tensor. */
  item: ConvertItem;
  /** How it is written. */
  planned: PlannedTensor;
  /** How that is made. */
  way: Way;
  /** What is known of it before it is written. */
  kind: ConversionKind;
  /** The error, where it has been measured. */
  error?: AddedError;
  /** The side tensors of the source that the target has no place for. */
  lost?: readonly SideKind[];
}

/** What to do where values would change. */
export function lossyAdvice({ lost }: Choice): string {
  const allow = "allow it with --lossy; --dry-run shows every tensor";
  if (!lost?.includes("order")) return allow;
  return `its groups are in activation order, which --to gptq and lowbit can say; or ${allow}`;
}

/** A tensor that the target cannot take. */
export interface Refusal {
  /** Its name. */
  where: string;
  /** Why. */
  problem: string;
  /** What to do. */
  advice: string;
}

/** What a tensor shall become: a scheme, a plain type, or what the target holds of its own. */
export type Wanted = (item: ConvertItem) => SchemeReference | { plain: PlainType } | undefined;

/** What choosing needs. */
export interface ChooseArguments {
  /** The target. */
  target: Target;
  /** The codecs. */
  codecs: Codecs;
  /** What the command line asks for. */
  wanted: Wanted;
  /** Schemes to quantise anew with, the preferred ones first, if codes cannot be kept. */
  fallbacks: readonly SchemeReference[];
  /** The schemes of inputs, by the names of weights. */
  activations: ReadonlyMap<string, ResolvedScheme>;
  /** Takes what is worth saying. */
  onWarning(message: string): void;
  /** Called after each tensor. */
  onProgress?(done: number): void;
}

/** Decides over all tensors; those that share a scheme get one scheme. */
export async function choose(
  items: readonly ConvertItem[],
  args: ChooseArguments,
): Promise<{ choices: Choice[]; refusals: Refusal[] }> {
  const refusals: Refusal[] = [];
  const choices = new Map<ConvertItem, Choice>();
  const groups = new Map<string, ConvertItem[]>();
  for (const item of items) {
    const key = groupKey(item, args);
    if (key === undefined) choices.set(item, await plainChoice(item, args));
    else groups.set(key, [...groups.get(key) ?? [], item]);
  }
  args.onProgress?.(choices.size);
  for (const group of groups.values()) {
    const made = await codedChoices(group, args);
    if (Array.isArray(made)) { for (const choice of made) choices.set(choice.item, choice); }
    else refusals.push(made);
    args.onProgress?.(choices.size);
  }
  for (const { planned } of choices.values()) {
    const fit = args.target.fit(planned);
    if (!fit.ok) refusals.push({ where: planned.name, ...fit });
  }
  const ordered = items.flatMap((item) => choices.get(item) ?? []);
  return { choices: ordered, refusals };
}

/** Weights of one scheme are decided together; undefined for those that are written plainly. */
function groupKey(item: ConvertItem, args: ChooseArguments): string | undefined {
  const { tensor, linear } = item;
  const wanted = args.wanted(item);
  if (wanted !== undefined) {
    if (typeof wanted === "object" && "plain" in wanted) return undefined;
    return JSON.stringify([wanted, storageLabel(tensor.storage)]);
  }
  const { storage } = tensor;
  if (storage.kind !== "coded") return undefined;
  const { granularity } = storage.scheme;
  const whole = granularity.kind === "group" && granularity.size >= tensor.shape[1];
  const key = { ...storage.scheme, granularity: whole ? "row" : granularity, id: "" };
  return JSON.stringify([key, linear || args.target.naming === "gguf"]);
}

function plannedAs(
  { name, tensor, linear, view }: ConvertItem,
  storage: PlannedTensor["storage"],
): PlannedTensor {
  const written = writtenShape(tensor.shape, view, storage.kind === "plain");
  return { name, ...written, storage, linear };
}

const FLOATS: readonly string[] = ["float32", "float16", "bfloat16"];

/** Plain and vector tensors, and those of foreign types. */
async function plainChoice(item: ConvertItem, args: ChooseArguments): Promise<Choice> {
  const { storage } = item.tensor;
  const wanted = args.wanted(item);
  const fits = (planned: PlannedTensor) => args.target.fit(planned).ok;
  const asked = typeof wanted === "object" && "plain" in wanted ? wanted.plain : undefined;
  if (storage.kind === "vector" && !asked) {
    const planned = plannedAs(item, storage);
    if (fits(planned)) return { item, planned, way: "copy", kind: "preserved" };
  }
  if (
    storage.kind === "plain" && (!asked || asked === storage.type || !FLOATS.includes(storage.type))
  ) {
    const planned = plannedAs(item, storage);
    if (fits(planned)) return { item, planned, way: "copy", kind: "preserved" };
  }
  const type = asked && fits(plannedAs(item, { kind: "plain", type: asked })) ? asked : "float32";
  const planned = plannedAs(item, { kind: "plain", type });
  if (type === "float32") return { item, planned, way: "values", kind: "exact" };
  const error = await roundingError(item, type);
  return { item, planned, way: "values", kind: error.different > 0 ? "lossy" : "exact", error };
}

async function roundingError(item: ConvertItem, type: PlainType): Promise<AddedError> {
  const store = scaleStorage(type);
  const difference = new Difference();
  for await (const values of chunks(item.tensor)) difference.add(values, values.map(store));
  return difference.error;
}

/** The most elements that are compared at a time. */
const CHUNK = 2 ** 24;

/** The values of a tensor, some rows at a time. */
export async function* chunks(
  tensor: ConvertItem["tensor"],
): AsyncGenerator<Float32Array, void, void> {
  const [rows = 1] = tensor.shape;
  const elements = tensor.shape.reduce((product, size) => product * size, 1);
  if (tensor.shape.length < 2 || elements <= CHUNK) return yield await tensor.read();
  const step = Math.max(1, Math.floor(CHUNK / (elements / rows)));
  for (let start = 0; start < rows; start += step) {
    yield await tensor.read({ start, end: Math.min(rows, start + step) });
  }
}

/** The choices of a group of weights, or why there is none. */
async function codedChoices(
  group: readonly ConvertItem[],
  args: ChooseArguments,
): Promise<Choice[] | Refusal> {
  const [first] = group;
  const wanted = args.wanted(first) as SchemeReference | undefined;
  const asked = wanted === undefined ? undefined : args.codecs.resolve(wanted);
  const { storage } = first.tensor;
  const candidates = asked
    ? [asked]
    : storage.kind === "coded"
    ? regridSchemes(storage.scheme, first.tensor.shape as [number, number])
    : [];
  const holds = (scheme: ResolvedScheme) =>
    group.every((item) => args.target.fit(plannedAs(item, { kind: "coded", scheme })).ok);
  const fitting = unique(candidates).filter(holds);
  if (storage.kind === "coded") {
    for (const scheme of fitting) {
      const kept = await keep(group, scheme, args, true);
      if (kept) return kept.map((choice) => withActivation(choice, args));
    }
    if (!asked && !first.linear) {
      // Tables are no linears: a target without codes for them has their values.
      const plain = group.map((item): Choice => ({
        item,
        planned: plannedAs(item, { kind: "plain", type: "float32" }),
        way: "values",
        kind: "exact",
      }));
      if (plain.every(({ planned }) => args.target.fit(planned).ok)) return plain;
    }
    for (const scheme of fitting) {
      const kept = await keep(group, scheme, args, false);
      if (kept) return kept.map((choice) => withActivation(choice, args));
    }
  }
  const bits = storage.kind === "coded" ? storage.scheme.element.bits : 0;
  const anew = asked ? [asked] : args.fallbacks.map((reference) => args.codecs.resolve(reference));
  const scheme = anew.find((scheme) => scheme.element.bits >= bits && holds(scheme)) ??
    anew.find(holds);
  if (scheme) return await requantised(group, scheme, args);
  if (!asked) {
    const plain = group.map((item): Choice => ({
      item,
      planned: plannedAs(item, { kind: "plain", type: "float32" }),
      way: "values",
      kind: "exact",
    }));
    if (args.fallbacks.length === 0 && plain.every(({ planned }) => args.target.fit(planned).ok)) {
      return plain;
    }
  }
  const tried = asked ?? anew[0] ?? (storage.kind === "coded" ? storage.scheme : undefined);
  const fit = tried && args.target.fit(plannedAs(first, { kind: "coded", scheme: tried }));
  const problem = fit && !fit.ok ? fit.problem : "cannot be held";
  const advice = fit && !fit.ok ? fit.advice : "choose another target";
  return { where: first.name, problem, advice };
}

function unique(schemes: readonly ResolvedScheme[]): ResolvedScheme[] {
  const seen = new Set<string>();
  return schemes.filter((scheme) => {
    const key = JSON.stringify({ ...scheme, id: "", summary: "", source: "" });
    return !seen.has(key) && seen.add(key) !== undefined;
  });
}

/** The codes of every weight of a group under a scheme; undefined if one has none. */
async function keep(
  group: readonly ConvertItem[],
  scheme: ResolvedScheme,
  { codecs, target }: ChooseArguments,
  exact: boolean,
): Promise<Choice[] | undefined> {
  const choices: Choice[] = [];
  for (const item of group) {
    const tensor = await item.tensor.quantized();
    const sides = (tensor.side ?? []).map(sideKind);
    if (!sides.every((kind) => target.sides?.includes(kind))) return undefined;
    const made = regrid(tensor, scheme);
    if ("problem" in made || (exact && made.rounded)) return undefined;
    const error = errorBetween(codecs, tensor, made.tensor);
    if (exact && error.different > 0) return undefined;
    const kind = error.different > 0
      ? "lossy"
      : scheme.element.bits === tensor.scheme.element.bits
      ? "preserved"
      : "exact";
    const ordered = sides.includes("order");
    const planned = {
      ...plannedAs(item, { kind: "coded", scheme }),
      ...(ordered && { ordered }),
    };
    choices.push({ item, planned, way: "regrid", kind, error });
  }
  return choices;
}

function errorBetween(codecs: Codecs, before: QuantizedTensor, after: QuantizedTensor): AddedError {
  const difference = new Difference();
  difference.add(codecs.decode(before), codecs.decode(after));
  return difference.error;
}

async function requantised(
  group: readonly ConvertItem[],
  scheme: ResolvedScheme,
  { codecs, target }: ChooseArguments,
): Promise<Choice[]> {
  const codec = codecs.get(scheme);
  const choices: Choice[] = [];
  for (const item of group) {
    const values = await item.tensor.read();
    const { storage } = item.tensor;
    const { side = [] } = storage.kind === "coded" ? await item.tensor.quantized() : {};
    const lost = side.map(sideKind).filter((kind) => !target.sides?.includes(kind));
    const [rows, columns] = item.tensor.shape;
    const difference = new Difference();
    difference.add(
      values,
      codec.dequantize(codec.quantize(values, rows, columns, item.importance)),
    );
    const { error } = difference;
    const planned = plannedAs(item, { kind: "coded", scheme });
    choices.push({
      item,
      planned,
      way: "requantise",
      kind: error.different > 0 ? "lossy" : "exact",
      error,
      lost,
    });
  }
  return choices;
}

/** Says the scheme of the inputs, where the target can. */
function withActivation(choice: Choice, args: ChooseArguments): Choice {
  const activation = args.activations.get(choice.item.tensor.name);
  if (!activation) return choice;
  const planned = { ...choice.planned, activation };
  if (args.target.fit(planned).ok) return { ...choice, planned };
  args.onWarning(
    `${choice.planned.name}: ${args.target.id} cannot say activations of ${activation.id}`,
  );
  return choice;
}
