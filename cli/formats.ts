/**
 * `lowbit formats`
 *
 * @module
 */

import { stringify } from "@std/yaml";
import { compareFormats } from "../engine/compare_formats.ts";
import { openModel } from "../models/architecture.ts";
import { type Check, checkFormat } from "../formats/check_format.ts";
import { checkLayout } from "../formats/check_layout.ts";
import { checkScheme } from "../formats/check_scheme.ts";
import { type FormatFacts, formatFacts } from "../formats/facts.ts";
import { type UsedBy, usedBy } from "../formats/used_by.ts";
import { readUserFormats } from "../formats/user_formats.ts";
import { readText } from "./inputs.ts";
import { seededRng } from "../engine/rng.ts";
import { encodeFile } from "../formats/encode_file.ts";
import {
  layouts,
  numberFormats,
  resolveScheme,
  resolveVectorFormat,
  schemes,
  vectorFormat,
  vectorFormats,
} from "../formats/lookup.ts";
import { decodeTable, largestFinite } from "../formats/reference.ts";
import {
  type Cast,
  granularityLabel,
  LowbitError,
  type NumberFormat,
  type ScaleRule,
  unknownName,
} from "../spec/mod.ts";
import { createWorkbench } from "../workbench.ts";
import type { Arguments, Command } from "./arguments.ts";
import { checkVectors, conform, CONFORM_OPTIONS } from "./conform.ts";
import { plain, print } from "./lists.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { progressView, writeLine } from "./progress.ts";
import { table } from "./table.ts";
import { describeVector, showVectorFormat, testVectorFormat } from "./vector_formats.ts";

/** The command. */
export const formatsCommand: Command = {
  name: "formats",
  usage:
    "[list | show ID | test FILE.yaml | encode ID IN OUT | compare ID... --on MODEL | conform]",
  summary: "Number formats, schemes and layouts; check one of yours; cast tensors to any of them.",
  positional: [0, 64],
  options: [
    ...SOURCE_OPTIONS,
    {
      name: "on",
      type: "text",
      value: "MODEL",
      help: "compare: the model whose weights are tried",
    },
    { name: "rounding", type: "text", value: "RULE", help: "encode: another rounding of the cast" },
    { name: "bits", type: "integer", value: "N", help: "encode: bits of a code, for layouts" },
    { name: "seed", type: "integer", value: "N", help: "encode: seeds stochastic rounding (0)" },
    { name: "overflow", type: "text", value: "RULE", help: "encode: another overflow of the cast" },
    {
      name: "scale-rule",
      type: "text",
      value: "RULE",
      help: "encode: another scale rule of a scheme",
    },
    ...CONFORM_OPTIONS,
    { name: "overwrite", type: "flag", help: "replace OUT if it is there" },
    { name: "threads", type: "integer", value: "N", help: "threads; all cores if absent" },
  ],
  async run(args) {
    const [action = "list", id, input, output] = args.positional;
    if (action === "list") return list(args);
    if (action === "show" && id !== undefined && input === undefined) return show(args, id);
    if (action === "test" && id !== undefined && input === undefined) return await test(args, id);
    if (action === "conform" && id === undefined) return await conform(args);
    if (action === "compare" && id !== undefined) return await compare(args);
    if (action === "encode" && output !== undefined && args.positional.length === 4) {
      return await encode(args, id, input, output);
    }
    throw new LowbitError("USAGE", `cannot do ${JSON.stringify(args.positional.join(" "))}`, {
      advice: "see `lowbit formats --help`",
    });
  },
};

function list(args: Arguments): void {
  const formats = numberFormats.ids().map((id) => numberFormats.get(id));
  const documents = {
    formats: formats.map(({ id, family, bits, summary }) => ({ id, family, bits, summary })),
    schemes: schemes.ids().map((id) => describeScheme(id)),
    vectors: vectorFormats.ids().map((id) => describeVector(vectorFormat(id))),
    layouts: layouts.ids().map((id) => ({ id, summary: layouts.get(id).summary })),
  };
  print(args, documents, () =>
    [
      table(
        ["number format", "family", "bits", "what it is"],
        documents.formats.map((f) => [f.id, f.family, f.bits, f.summary]),
      ),
      table(
        ["scheme", "element", "granularity", "scale", "what it is"],
        documents.schemes.map((s) => [s.id, s.element, s.granularity, s.scale, s.summary]),
      ),
      table(
        ["vector format", "family", "bits a weight", "what it is"],
        documents.vectors.map((v) => [v.id, v.family, v.bits_per_weight, v.summary]),
      ),
      table(["layout", "what it is"], documents.layouts.map((l) => [l.id, l.summary])),
    ].join("\n"));
}

function describeScheme(id: string) {
  const scheme = resolveScheme(id);
  return {
    id,
    element: scheme.element.id,
    granularity: granularityLabel(scheme.granularity),
    scale: scheme.scale.format,
    summary: scheme.summary,
  };
}

function show(args: Arguments, id: string): void {
  if (numberFormats.has(id)) return showNumberFormat(args, numberFormats.get(id));
  if (schemes.has(id)) {
    const scheme = resolveScheme(id);
    const used = usedBy(id);
    return print(
      args,
      { kind: "scheme", ...scheme, used_by: used },
      () => [stringify(plain(scheme)).trimEnd(), ...describeUse(used)].join("\n"),
    );
  }
  if (layouts.has(id)) {
    const layout = layouts.get(id);
    const used = usedBy(id);
    return print(
      args,
      { kind: "layout", ...layout, used_by: used },
      () => [stringify(plain(layout)).trimEnd(), ...describeUse(used)].join("\n"),
    );
  }
  if (vectorFormats.has(id)) return showVectorFormat(args, vectorFormat(id));
  const ids = [numberFormats, schemes, vectorFormats, layouts].flatMap((catalog) => catalog.ids());
  throw unknownName("format", id, ids, { advice: "`lowbit formats list` shows them all" });
}

function describeUse({ schemes, layouts, targets }: UsedBy): string[] {
  const lines = { "in schemes": schemes, "in layouts": layouts, "written to": targets };
  return Object.entries(lines)
    .filter(([, ids]) => ids.length > 0)
    .map(([where, ids]) => `${where}: ${ids.join(", ")}`);
}

function showNumberFormat(args: Arguments, format: NumberFormat): void {
  const values = format.bits <= 8 ? [...decodeTable(format)] : undefined;
  const { id, family, bits, ...rest } = format;
  if (args.flag("json")) {
    const shown = values?.map((value) => Number.isFinite(value) ? value : String(value));
    return writeLine(JSON.stringify({
      id,
      family,
      bits,
      ...(shown && { values: shown }),
      ...(values ? { facts: formatFacts(format) } : { largest: largestFinite(format) }),
      used_by: usedBy(id),
      definition: plain({ family, bits, ...rest }),
    }));
  }
  const lines = [`${id}: ${format.summary}`];
  if (values) lines.push(numberLine(values), describeFacts(formatFacts(format)));
  lines.push(stringify(plain(format)).trimEnd(), ...describeUse(usedBy(id)));
  if (values && bits <= 5) {
    const shown = values.map((value) => Object.is(value, -0) ? "-0" : String(value));
    const width = Math.max(...shown.map((value) => value.length));
    shown.forEach((value, code) =>
      lines.push(`${code.toString(2).padStart(bits, "0")}  ${value.padStart(width)}`)
    );
  }
  writeLine(lines.join("\n"));
}

/** Checks a format, scheme or layout in a file; the exit code says whether everything holds. */
async function test(args: Arguments, file: string): Promise<number> {
  const user = readUserFormats([{ file, text: await readText(file) }]);
  const [vector] = user.vectors.values();
  if (vector) return testVectorFormat(args, file, resolveVectorFormat(vector, user));
  using lowbit = await createWorkbench();
  const { kernels, codecs } = lowbit;
  const [layout] = user.layouts.values();
  if (layout) return report(args, file, layout.id, checkLayout(kernels, layout));
  const [document] = user.schemes.values();
  const scheme = document && resolveScheme(document, user);
  const format = scheme?.element ?? [...user.numbers.values()][0];
  const checks = [
    ...checkFormat(kernels, format),
    ...(scheme ? checkScheme(codecs, scheme) : []),
  ];
  const vectors = args.text("vectors");
  if (vectors !== undefined) checks.push(await checkVectors(lowbit, vectors, format, scheme));
  return report(args, file, scheme?.id ?? format.id, checks, formatFacts(format));
}

/** Prints what was checked, and facts if there are any; 1 if anything does not hold. */
function report(
  args: Arguments,
  file: string,
  id: string,
  checks: readonly Check[],
  facts?: FormatFacts,
): number {
  const ok = checks.every((check) => check.ok);
  print(args, { file, id, ok, checks, ...(facts && { facts }) }, () =>
    [
      table(
        [id, "", ""],
        checks.map((check) => [check.ok ? "ok" : "FAILED", check.name, check.detail]),
      ),
      ...(facts ? [describeFacts(facts)] : []),
    ].join("\n"));
  return ok ? 0 : 1;
}

function describeFacts(facts: FormatFacts): string {
  const { sqnr_db: { gaussian, laplace, student_t }, lost } = facts;
  return [
    `${facts.values} values, largest ${facts.largest}, smallest ${facts.smallest}` +
    (facts.smallest_normal === undefined ? "" : `, smallest normal ${facts.smallest_normal}`),
    `${facts.dynamic_range} octaves; codes lost: ${lost.nan} to NaN, ${lost.infinity} to infinity, ` +
    `${lost.repeated} repeated`,
    `SQNR in groups of 64: Gaussian ${gaussian} dB, Laplace ${laplace} dB, Student t ${student_t} dB`,
  ].join("\n");
}

/** The values between the extremes, as marks on a line. */
function numberLine(values: readonly number[], width = 79): string {
  const finite = values.filter(Number.isFinite);
  const [lo, hi] = [Math.min(...finite), Math.max(...finite)];
  const marks = Array<string>(width).fill("-");
  for (const value of finite) marks[Math.round((value - lo) / (hi - lo) * (width - 1))] = "|";
  return `${marks.join("")}\n${String(lo).padEnd(width - String(hi).length)}${hi}`;
}

/** Ranks schemes by their error on the weights of a model; number formats get groups of 64. */
async function compare(args: Arguments): Promise<void> {
  const on = args.text("on");
  if (on === undefined) {
    throw new LowbitError("USAGE", "--on is missing", { advice: "as in --on embedded" });
  }
  const ids = args.positional.slice(1);
  const group = { kind: "group", size: 64 } as const;
  const vectors = ids.filter((id) => vectorFormats.has(id)).map(vectorFormat);
  const chosen = ids.filter((id) => !vectorFormats.has(id)).map((id) =>
    numberFormats.has(id) && !schemes.has(id)
      ? resolveScheme({ base: "int8_channel_sym", element: id, granularity: group })
      : resolveScheme(id)
  );
  const view = progressView(args);
  using lowbit = await createWorkbench({
    sources: sourceOptions(args),
    threads: args.number("threads") ?? 0,
  });
  const model = await lowbit.open(on);
  try {
    const scores = await compareFormats({
      model: openModel(model),
      schemes: chosen,
      vectors,
      codecs: lowbit.codecs,
      progress: (done, total) =>
        view.onEvent({ event: "progress", stage: "evaluate", done, total, detail: "weights" }),
    });
    view.close();
    print(args, { model: on, scores }, () =>
      table(
        ["scheme", "bits a weight", "dB at equal bits", "SQNR dB", "relative error"],
        scores.map((s) => [
          s.scheme,
          s.bits_per_weight,
          s.equal_bits_db,
          s.sqnr_db,
          s.relative_error,
        ]),
      ));
  } finally {
    view.close();
    model.close();
  }
}

async function encode(args: Arguments, id: string, input: string, output: string): Promise<void> {
  using lowbit = await createWorkbench({ threads: args.number("threads") ?? 0 });
  const { kernels, codecs } = lowbit;
  const overwrite = args.flag("overwrite");
  const [rounding, overflow] = [args.text("rounding"), args.text("overflow")];
  const cast = {
    ...(rounding !== undefined && { rounding }),
    ...(overflow !== undefined && { overflow, infinity: overflow }),
  } as Partial<Cast>; // the schema of the format checks the names
  const rule = args.text("scale-rule") as ScaleRule | undefined;
  const paths = { id, input, output, overwrite, bits: args.number("bits") };
  const { uniform: random } = seededRng(`encode/${args.number("seed") ?? 0}`);
  const written = await encodeFile({ kernels, codecs, ...paths, cast, rule, random });
  print(
    args,
    { id, input, output, tensors: written },
    () => table(["tensor", "shape"], written.map((t) => [t.name, t.shape.join(" x ")])),
  );
}
