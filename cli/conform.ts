/**
 * `lowbit formats conform`: runs conformance vectors against another program, or our own codec.
 *
 * @module
 */

import { createCodecs } from "../formats/codec.ts";
import { compareOutputs, type EntryReport, skipped } from "../formats/conformance/compare.ts";
import { runEntry } from "../formats/conformance/ours.ts";
import {
  type ConformanceVectors,
  openVectors,
  readTensors,
  type VectorTensors,
} from "../formats/conformance/vectors.ts";
import { castTensor, quantizeTensor } from "../formats/encode_file.ts";
import type { Check } from "../formats/check_format.ts";
import { decodeTable } from "../formats/reference.ts";
import { referenceKernels } from "../kernels-wasm/reference.ts";
import {
  LowbitError,
  type NumberFormat,
  type ResolvedScheme,
  type VectorEntry,
} from "../spec/mod.ts";
import { createWorkbench, type Workbench } from "../workbench.ts";
import type { Arguments, Option } from "./arguments.ts";
import { placeholders, type Program, runProgram } from "./conform_program.ts";
import { print } from "./lists.ts";
import { progressView } from "./progress.ts";
import { table } from "./table.ts";

/** The options that belong to `conform`. */
export const CONFORM_OPTIONS: readonly Option[] = [
  {
    name: "vectors",
    type: "text",
    value: "PATH",
    help: "conform: folder of vectors; test: a file",
  },
  { name: "id", type: "text", value: "ID", many: true, help: "conform: only these ids or entries" },
  { name: "kind", type: "text", value: "KIND", help: "conform: only number, scheme or layout" },
  {
    name: "exec",
    type: "text",
    value: "CMD",
    help: "conform: the program, run once an entry; {id} {in} {out} are filled in",
  },
  { name: "timeout", type: "integer", value: "SECONDS", help: "conform: limit of one run (60)" },
];

/** Where the vectors of this version are. */
const SHIPPED = new URL("../conformance", import.meta.url).pathname;

/** Runs the vectors; the exit code says whether all entries passed. */
export async function conform(args: Arguments): Promise<number> {
  const folder = args.text("vectors") ?? SHIPPED;
  const exec = args.text("exec");
  const program = exec === undefined
    ? undefined
    : { words: splitCommand(exec), seconds: args.number("timeout") ?? 60 };
  const vectors = await openVectors(folder);
  const entries = chosen(vectors, args, folder);
  using lowbit = await createWorkbench();
  const reference = referenceKernels();
  const engines = [
    { kernels: reference, codecs: createCodecs(reference), reference: true },
    { kernels: lowbit.kernels, codecs: lowbit.codecs, reference: false },
  ];
  const view = progressView(args);
  const reports: EntryReport[] = [];
  try {
    for (const [done, entry] of entries.entries()) {
      const progress = { event: "progress", stage: "evaluate", detail: entry.name } as const;
      view.onEvent({ ...progress, done, total: entries.length });
      reports.push(
        program ? await byProgram(vectors, entry, program) : await byBoth(vectors, entry, engines),
      );
    }
  } finally {
    view.close();
  }
  return report(args, folder, exec, reports);
}

/** The worse of the reports of all engines. */
async function byBoth(
  vectors: ConformanceVectors,
  entry: VectorEntry,
  engines: Parameters<typeof runEntry>[2][],
): Promise<EntryReport> {
  let worst: EntryReport | undefined;
  for (const engine of engines) {
    const made = await runEntry(vectors, entry, engine);
    const name = engine.reference ? "reference" : engine.kernels.name;
    const named = { ...made, ...(made.first && { first: `${name}: ${made.first}` }) };
    if (!worst || named.failed > worst.failed) worst = named;
  }
  return worst!;
}

function chosen({ manifest }: ConformanceVectors, args: Arguments, folder: string): VectorEntry[] {
  const [ids, kind] = [args.texts("id"), args.text("kind")];
  const entries = manifest.entries.filter((entry) =>
    (kind === undefined || entry.kind === kind) &&
    (ids.length === 0 ||
      ids.some((id) => entry.id === id || entry.name === id || entry.name.startsWith(`${id}/`)))
  );
  if (entries.length === 0) {
    throw new LowbitError("NOT_FOUND", "no entry is of that id and kind", {
      file: folder,
      advice: "leave --kind or the id out to see what there is",
    });
  }
  return entries;
}

async function byProgram(
  vectors: ConformanceVectors,
  entry: VectorEntry,
  program: Program,
): Promise<EntryReport> {
  if (entry.definition && !placeholders(program.words).has("definition")) {
    return skipped(entry, "in no catalog; the command has no {definition}");
  }
  const expected = await vectors.tensors(entry);
  const outcome = await runProgram(program, entry, expected);
  if (outcome.skipped) return skipped(entry, outcome.skipped);
  if (outcome.problem) {
    const { oracle: { package: name, version }, kind, id, cases } = entry;
    const head = { name: entry.name, kind, id, oracle: `${name} ${version}` };
    return { ...head, cases, failed: cases, first: outcome.problem };
  }
  return compareOutputs(entry, expected, outcome.outputs!, outcome.optional);
}

function report(
  args: Arguments,
  vectors: string,
  exec: string | undefined,
  entries: EntryReport[],
): number {
  const failed = entries.filter((entry) => entry.failed > 0);
  const ran = entries.filter((entry) => entry.skipped === undefined);
  const ok = failed.length === 0 && ran.length > 0;
  const cases = ran.reduce((sum, entry) => sum + entry.cases, 0);
  print(args, { vectors, exec: exec ?? null, ok, entries }, () =>
    [
      table(
        ["", "entry", "oracle", "passed", "failed", "first difference"],
        entries.map((entry) => [
          entry.skipped ? "-" : entry.failed ? "FAILED" : "ok",
          entry.name,
          entry.oracle,
          entry.cases - entry.failed,
          entry.failed,
          entry.skipped ?? entry.first ?? "",
        ]),
      ),
      `${ran.length - failed.length} of ${ran.length} entries passed, ${cases} numbers compared` +
      `, ${entries.length - ran.length} entries skipped`,
    ].join("\n"));
  return ok ? 0 : 1;
}

/** Checks a number format or a scheme of the user against a file with `x`, `codes` and the like. */
export async function checkVectors(
  { kernels, codecs }: Pick<Workbench, "kernels" | "codecs">,
  file: string,
  format: NumberFormat,
  scheme?: ResolvedScheme,
): Promise<Check> {
  const expected = Object.fromEntries(await readTensors(file)) as VectorTensors;
  const { x } = expected;
  if (x?.type !== "float32") {
    throw new LowbitError("NOT_FOUND", "has no F32 tensor x", {
      file,
      advice: "the program must write the file that it was asked for",
    });
  }
  const values = x.values as Float32Array;
  const name = scheme?.id ?? format.id;
  const oracle = { package: "the file", version: "", call: "" };
  const kind = scheme ? "scheme" as const : "number" as const;
  const entry = { name, kind, id: name, oracle, cases: values.length, tensors: {} };
  const outputs = scheme
    ? quantizeTensor(codecs, scheme, values, x.shape)
    : { ...castTensor(kernels, format, values), table: decodeTable(format) };
  const { cases, failed, first } = compareOutputs({ ...entry, hold: "exact" }, expected, outputs);
  if (cases === 0) {
    throw new LowbitError("NOT_FOUND", "has no codes and no values", {
      file,
      advice: "the program must write the file that it was asked for",
    });
  }
  return { name: `vectors of ${file}`, ok: failed === 0, detail: first ?? `${cases} cases` };
}

/** Splits a command into words; quotes keep blanks together, and there is no shell. */
export function splitCommand(command: string): string[] {
  const words: string[] = [];
  for (const [word] of command.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)) {
    words.push(word.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
  }
  if (words.length === 0) {
    throw new LowbitError("USAGE", "--exec names no program", {
      advice: "give the command that runs yours",
    });
  }
  if (!command.includes("{in}") || !command.includes("{out}")) {
    throw new LowbitError("USAGE", "--exec needs {in} and {out}", {
      advice: 'as in --exec "program {id} {in} {out}"',
    });
  }
  return words;
}
