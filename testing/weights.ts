/**
 * Checks of the hooks that work on one weight: `quantize`, `quantizeVector`, `clip`, `compensate`.
 *
 * @module
 */

import { clipWeight } from "../engine/clip.ts";
import { checkTensor, checkVectorTensor } from "../engine/checks.ts";
import { schemes, vectorFormats } from "../formats/lookup.ts";
import {
  blockColumns,
  type CodedTensor,
  isVector,
  LowbitError,
  type Plugin,
  type ResolvedScheme,
  type VectorFormat,
  vectorMisfit,
} from "../spec/mod.ts";
import {
  accepts,
  type Bench,
  contextOf,
  exactInputs,
  type HardTensor,
  hardTensors,
  linearOf,
  statisticsOf,
} from "./bench.ts";
import { type Findings, messageOf } from "./report.ts";
import { fingerprint } from "./snapshot.ts";
import { readBack } from "./read_back.ts";

/** What a weight is quantised to. */
type Form = ResolvedScheme | VectorFormat;

/** What the checks of weights need. */
export interface WeightArguments {
  /** The plugin; its hooks tell when they change inputs. */
  plugin: Plugin;
  /** Its options. */
  options: Record<string, unknown>;
  /** WebAssembly kernels. */
  bench: Bench;
  /** Reference kernels. */
  reference: Bench;
  /** Only these schemes and vector formats, by id; all that it supports if absent. */
  schemes?: readonly string[];
  /** Takes what is found. */
  findings: Findings;
}

/** Tokens of the calibration inputs. */
const TOKENS = 96;

/** Runs the checks. */
export async function checkWeights(args: WeightArguments): Promise<void> {
  const { plugin } = args;
  const byScheme = plugin.quantize || plugin.clip || plugin.compensate;
  const forms: Form[] = [
    ...byScheme ? declaredSchemes(args) : [],
    ...plugin.quantizeVector ? declaredVectors(args) : [],
  ];
  const made: [string, CodedTensor][] = [];
  for (const form of forms) {
    const { findings } = args;
    const results = new Map<string, string>();
    const tensors = tensorsFor(form);
    for (const tensor of tensors) {
      const place = `${form.id}, ${tensor.name}`;
      const coded = findings.try("formats", place, () => checked(args, form, tensor));
      if (!coded) continue;
      results.set(tensor.name, fingerprint(coded));
      checkError(args, form, tensor, coded, place);
      made.push([`${form.id}.${tensor.name.replaceAll(" ", "_")}`, coded]);
    }
    checkRepeats(args, form, tensors, results);
    checkTwin(args, form, tensors[0], results);
    checkNaN(args, form);
  }
  await readBack(args.bench, made, args.findings);
}

function declaredSchemes({ plugin, bench, schemes: only }: WeightArguments): ResolvedScheme[] {
  return (only ?? schemes.ids()).filter((id) => schemes.has(id))
    .map((id) => bench.codecs.resolve(id))
    .filter((scheme) => accepts(plugin, scheme));
}

function declaredVectors({ plugin, bench, schemes: only }: WeightArguments): VectorFormat[] {
  const { vectors } = plugin.meta.supports;
  return (only ?? vectorFormats.ids()).map((id) => bench.codecs.resolveVector(id))
    .filter((format) => format !== undefined)
    .filter(({ family }) => !vectors || vectors.includes(family));
}

const isVectorFormat = (form: Form): form is VectorFormat => !("element" in form);

/** The hard tensors that a form can hold. */
function tensorsFor(form: Form): HardTensor[] {
  if (isVectorFormat(form)) {
    // Their encoders search, so there are fewer of them; tiles of trellises have 16 rows.
    return hardTensors(64, false, vectorMisfit(form, 4, 64) ? 16 : 4).filter((
      { name, rows, columns },
    ) => /^normal|^zeros|outlier|1 x N/.test(name) && !vectorMisfit(form, rows, columns));
  }
  return hardTensors(form.tail === "refuse" ? blockColumns(form) : 1, form.tail !== "refuse");
}

/** What the plugin makes of a weight, as the engine would run it. */
function quantized(
  { plugin, options }: WeightArguments,
  bench: Bench,
  form: Form,
  { rows, columns, values }: HardTensor,
): CodedTensor {
  const context = contextOf(bench, plugin, options);
  const linear = linearOf(rows, columns);
  const inputs = exactInputs(TOKENS, columns);
  const custom = new Map<string, unknown>();
  const statistic = plugin.collect?.({ context, linear });
  if (statistic) {
    using x = bench.kernels.upload(inputs);
    statistic.add(x, TOKENS, columns);
    custom.set(plugin.meta.name, statistic.value());
  }
  const statistics = statisticsOf(inputs, columns, rows, custom);
  const given = { context, linear, statistics };
  if (isVectorFormat(form)) {
    const codec = bench.codecs.vector(form);
    const tensor = plugin.quantizeVector!({ ...given, weight: values, codec });
    checkVectorTensor(tensor, linear, plugin);
    return tensor;
  }
  const codec = bench.codecs.get(form);
  const steps = [{ plugin, context, selects: () => true }];
  const weight = clipWeight({ steps, linear, weight: values, codec, statistics });
  const tensor = plugin.quantize
    ? plugin.quantize({ ...given, weight, codec })
    : codec.quantize(weight, rows, columns);
  checkTensor(tensor, linear, plugin);
  const { side = [] } = plugin.compensate?.({ ...given, weight: values, tensor, codec }) ?? {};
  return side.length > 0 ? { ...tensor, side: [...tensor.side ?? [], ...side] } : tensor;
}

/** The same, with what must hold of every tensor. */
function checked(args: WeightArguments, form: Form, tensor: HardTensor): CodedTensor {
  const { bench } = args;
  const coded = quantized(args, bench, form, tensor);
  const decoded = bench.codecs.decode(coded);
  if (!decoded.every(Number.isFinite)) throw new Error("decodes to a number that is not finite");
  if (
    tensor.name === "zeros" && decoded.some((value) => value !== 0) &&
    nearestZero(bench, form, tensor)
  ) {
    throw new Error("does not decode to zeros, as round to nearest does");
  }
  if (!isVector(coded)) {
    const largest = 2 ** coded.scheme.element.bits;
    if (coded.codes.some((code) => code >= largest)) throw new Error("has a code beyond its bits");
  }
  return coded;
}

/** Whether rounding to nearest keeps zeros: not every format has one. */
function nearestZero(bench: Bench, form: Form, { rows, columns, values }: HardTensor): boolean {
  return bench.codecs.decode(nearestOf(bench, form, values, rows, columns)).every((x) => x === 0);
}

function nearestOf(
  { codecs }: Bench,
  form: Form,
  values: Float32Array,
  rows: number,
  columns: number,
): CodedTensor {
  return isVectorFormat(form)
    ? codecs.vector(form).encode(values, rows, columns)
    : codecs.get(form).quantize(values, rows, columns);
}

/** The squared error of a tensor: of its values, and of its outputs on the calibration inputs. */
function errors(bench: Bench, coded: CodedTensor, { rows, columns, values }: HardTensor) {
  const decoded = bench.codecs.decode(coded);
  const inputs = exactInputs(TOKENS, columns);
  const { gram } = statisticsOf(inputs, columns, rows);
  let [weights, outputs] = [0, 0];
  for (let row = 0; row < rows; row++) {
    const d = Float64Array.from(
      { length: columns },
      (_, j) => decoded[row * columns + j] - values[row * columns + j],
    );
    for (let i = 0; i < columns; i++) {
      weights += d[i] * d[i];
      if (d[i] === 0) continue;
      for (let j = 0; j < columns; j++) outputs += d[i] * gram![i * columns + j] * d[j];
    }
  }
  return { weights, outputs };
}

/** The error against round to nearest. */
function checkError(
  args: WeightArguments,
  form: Form,
  tensor: HardTensor,
  coded: CodedTensor,
  place: string,
): void {
  const { bench, findings, plugin } = args;
  // Where rounding to nearest may be exact, any other method is infinitely worse.
  if (/zeros|constant|subnormal/.test(tensor.name)) return;
  const { of, factor } = plugin.meta.error ?? { of: "outputs", factor: 1.5 };
  const { rows, columns, values } = tensor;
  const nearest = nearestOf(bench, form, values, rows, columns);
  const mine = errors(bench, coded, tensor)[of];
  const theirs = errors(bench, nearest, tensor)[of];
  const signal = values.reduce((sum, value) => sum + value * value, 0);
  // Where rounding to nearest is exact, or below what f32 tells, there is nothing to compare with.
  const floor = (1e-12 * signal + 2 ** -252) * (of === "outputs" ? columns * TOKENS * 16 : 1);
  findings.case(
    "error",
    mine <= factor * theirs + floor
      ? undefined
      : `${place}: the error of ${of} is ${(mine / theirs).toFixed(2)} times that of round to ` +
        `nearest; ${factor} is stated`,
  );
}

/** The same tensors again, backwards: the same bytes, whatever came before. */
function checkRepeats(
  args: WeightArguments,
  form: Form,
  tensors: readonly HardTensor[],
  results: ReadonlyMap<string, string>,
): void {
  const { findings, bench } = args;
  for (const tensor of tensors.filter((_, i) => i % 3 === 0).reverse()) {
    const first = results.get(tensor.name);
    if (first === undefined) continue;
    const again = findings.try(
      "order",
      `${form.id}, ${tensor.name}`,
      () => fingerprint(quantized(args, bench, form, tensor)),
    );
    if (again === first) continue;
    const problem = `${form.id}, ${tensor.name}: other bytes after other weights`;
    const third = fingerprint(quantized(args, bench, form, tensor));
    const repeats = third === again;
    findings.case(repeats ? "order" : "repeat", repeats ? problem : undefined);
    if (!repeats) findings.case("repeat", `${form.id}, ${tensor.name}: other bytes each time`);
  }
  const [tensor] = tensors;
  if (!tensor || !results.has(tensor.name)) return;
  const [a, b] = [0, 1].map(() => fingerprint(quantized(args, bench, form, tensor)));
  findings.case(
    "repeat",
    a === b ? undefined : `${form.id}, ${tensor.name}: other bytes each time`,
  );
}

/** The same bytes by the reference kernels. */
function checkTwin(
  args: WeightArguments,
  form: Form,
  tensor: HardTensor | undefined,
  results: ReadonlyMap<string, string>,
): void {
  const wasm = tensor && results.get(tensor.name);
  if (!wasm) return;
  const { findings, reference } = args;
  const plain = findings.try(
    "twin",
    form.id,
    () => fingerprint(quantized(args, reference, form, tensor)),
  );
  if (plain === undefined || plain === wasm) return;
  findings.case("twin", `${form.id}: reference kernels and WebAssembly give other bytes`);
}

/** A weight with a NaN must be refused, by an error that a user can read. */
function checkNaN(args: WeightArguments, form: Form): void {
  const [tensor] = tensorsFor(form);
  if (!tensor) return;
  const values = tensor.values.slice();
  values[7] = NaN;
  let problem: string | undefined = `${form.id}: a weight with a NaN is quantised`;
  try {
    quantized(args, args.bench, form, { ...tensor, values });
  } catch (error) {
    problem = error instanceof LowbitError
      ? undefined
      : `${form.id}: a NaN ends in ${messageOf(error)}, which is no LowbitError`;
  }
  args.findings.case("formats", problem);
}
