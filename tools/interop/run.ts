/**
 * The interoperability check: models quantised by lowbit and written for other programs, whose
 * perplexity on the same token ids must be ours. A check for development, never needed by users:
 * it runs `transformers` and llama.cpp in Python (`requirements.txt` beside this file).
 *
 * ```sh
 * python3 -m venv .venv && .venv/bin/pip install -r tools/interop/requirements.txt
 * python3 tools/smollm2/fetch.py
 * deno task interop --python .venv/bin/python --model .cache/smollm2.gguf \
 *   --report docs/generated/interop.md
 * ```
 *
 * `gguf_families.py` beside it does the same for tiny checkpoints of every family that becomes a GGUF
 * file, against llama.cpp, and is called by hand: `.venv/bin/python tools/interop/gguf_families.py`.
 *
 * Always checks the embedded model; `--model FILE` adds another one. `--windows` and
 * `--model-windows` are how many windows of 512 ids each is scored on, `--only TEXT` takes the cases
 * whose recipe has this in its name, `--runtime TEXT` those whose program has. The report goes to `--report FILE`, or to stdout. Exit code 1:
 * something differs by more than its limit.
 *
 * @module
 */

import { cpus } from "node:os";
import { type Command, commandHelp, parseArguments } from "../../cli/arguments.ts";
import {
  type Checkpoint,
  createWorkbench,
  embeddedPath,
  importanceBytes,
  type ImportanceMatrix,
  openModel,
  readImportance,
  type Recipe,
  VERSION,
  type Workbench,
} from "../../mod.ts";
import { memorySource } from "../../formats/containers/source.ts";
import { parameterTensor } from "../../models/weights.ts";
import { briefly, type Case, CASES, type Place } from "./cases.ts";
import { Kept } from "./kept.ts";
import { type CaseResult, difference, type ModelResult, passed, report } from "./report.ts";

const LENGTH = 512;

const SCRIPTS = {
  "transformers": "perplexity_transformers.py",
  "gptqmodel": "perplexity_gptqmodel.py",
  "autoawq": "perplexity_packages.py",
  "hqq": "perplexity_packages.py",
  "quanto": "perplexity_packages.py",
  "llama.cpp": "perplexity_llama_cpp.py",
  "onnxruntime": "perplexity_onnxruntime.py",
  "onnxruntime-web": "perplexity_onnxruntime_web.ts",
};

/** Text that tokenizers disagree on, if they disagree. */
const TEXT = [
  "In the beginning was the word; it's 1,234,567.89 and don't 'quote' me (50 % off).",
  "\n\n   three spaces,\ttabs\t\t, a line end of two characters\r\nand trailing space \n\n\n",
  "Zażółć gęślą jaźń. Ünïcödé, naïve café: a\u0301 e\u0308 \u00e9. Ελληνικά. Русский язык.",
  "日本語の文章。中文字符。한국어 문장. العربية עברית हिन्दी ไทย",
  "🙂 👩‍👩‍👧‍👦 🇩🇪 x² ½ ① ≤ → — … “quotes” \u00a0nbsp \u200bzero width",
  "if (a[i] == 0x1F) { return b ? c : d; } // snake_case camelCase $HOME ~/path \\n",
  "1 12 123 1234 12345 0.5 3e-8 0000 １２３ ४५६",
  "<b>tag</b> <|not_a_token|> [INST] aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ................",
  "\u0001\u0007\u007f control characters",
].join("\n");

/** What a script prints. */
interface Scored {
  perplexity: number;
  /** Absent where the program has no tokenizer. */
  ids_of_text?: number[];
  versions: Record<string, string>;
}

/** Which cases are run. */
interface Selection {
  /** What is in the names of recipes, and of programs. */
  recipe: string;
  runtime: string;
  /** Whether those for small models are among them. */
  small: boolean;
  /** One of each program and target. */
  brief: boolean;
  /** Those alone that are done already. */
  kept: boolean;
}

/** Runs the cases. */
class Check {
  /** Cases that gave no figures. */
  readonly failures: string[] = [];
  readonly versions: Record<string, string> = { lowbit: VERSION, deno: Deno.version.deno };

  constructor(
    private readonly lowbit: Workbench,
    private readonly python: string,
    private readonly folder: string,
    private readonly kept: Kept,
  ) {}

  /** All cases of a model. `calibrateTwice` also compares values where that takes long. */
  async model(
    path: string,
    title: string,
    count: number,
    calibrateTwice: boolean,
    only: Selection,
  ): Promise<ModelResult> {
    const model = await this.lowbit.open(path);
    try {
      const text = await Deno.readTextFile(embeddedPath("evaluation.txt"));
      const windows = this.lowbit.windows(model, text, { length: LENGTH, count });
      const ids = `${this.folder}/ids.json`;
      await Deno.writeTextFile(ids, JSON.stringify(windows.map((window) => [...window])));
      const cases: CaseResult[] = [];
      const wanted = CASES.filter(({ recipe, runtime, small }) =>
        recipe.name.includes(only.recipe) && runtime.includes(only.runtime) &&
        (small !== true || only.small)
      );
      for (const chosen of only.brief ? briefly(wanted) : wanted) {
        const place = [...chosen.through ?? [], chosen.to].join(" -> ");
        const { recipe: { name }, runtime, importance } = chosen;
        const key = JSON.stringify([title, count, name, place, runtime, importance ?? false]);
        const found = this.kept.find(key);
        if (found) {
          cases.push({ ...found.result, case: chosen });
          Object.assign(this.versions, found.versions);
        }
        if (found || only.kept) continue;
        let result: CaseResult;
        try {
          result = await this.#case(model, chosen, ids, calibrateTwice);
          await this.kept.add({ key, result, versions: this.versions });
        } catch (error) {
          const what = `${title}: ${name}, ${place} for ${runtime}`;
          this.failures.push(`${what}: ${error instanceof Error ? error.message : error}`);
          console.error(this.failures.at(-1));
          continue;
        }
        cases.push(result);
        console.error(
          `${title}: ${chosen.recipe.name} for ${chosen.runtime}: ${result.ours.toFixed(4)} and ` +
            `${result.theirs.toFixed(4)}, ${(100 * difference(result)).toFixed(4)} %` +
            (passed(result) ? "" : " FAILED"),
        );
      }
      const predictions = windows.reduce((sum, window) => sum + window.length - 1, 0);
      return {
        name: title,
        windows: { count: windows.length, length: LENGTH, predictions },
        cases,
      };
    } finally {
      model.close();
    }
  }

  async #case(
    model: Checkpoint,
    chosen: Case,
    ids: string,
    calibrateTwice: boolean,
  ): Promise<CaseResult> {
    const { recipe, to, runtime } = chosen;
    const written = this.#place("export", to);
    const own = `${this.folder}/own`;
    const importance = chosen.importance && await this.#importance(model, recipe);
    const [first, ...steps] = [...chosen.through ?? [], to];
    const out = this.#place(steps.length > 0 ? "step0" : "export", first);
    const run = { model, recipe, to: first, importance, overwrite: true };
    const { plan, receipt } = await this.lowbit.quantize({ ...run, out });
    const bytes = await this.#convert(out, steps) ??
      receipt.output.reduce((sum, file) => sum + file.bytes, 0);
    const compare = calibrateTwice || !this.lowbit.needsCalibration(model, recipe);
    if (compare) {
      await this.lowbit.quantize({ ...run, to: "lowbit", out: own });
    }
    const text = `${this.folder}/text.txt`;
    await Deno.writeTextFile(text, TEXT);
    const ours = await this.#run(Deno.execPath(), [
      ...["run", "--allow-read", "cli.ts"],
      ...["eval", written, "--ids", ids, "--json", "--quiet"],
    ]) as { perplexity: number };
    const script = `tools/interop/${SCRIPTS[runtime]}`;
    const line = [script, written, ids, "--text", text];
    const theirs =
      await (script.endsWith(".ts")
        ? this.#run(Deno.execPath(), ["run", "-A", "--no-lock", "--quiet", ...line])
        : this.#run(this.python, line)) as Scored;
    Object.assign(this.versions, theirs.versions);
    const expected = this.lowbit.tokenizer(model).encode(TEXT);
    const exported = await this.lowbit.open(written);
    const reference = compare ? await this.lowbit.open(own) : undefined;
    try {
      return {
        case: chosen,
        bitsPerWeight: plan.bits_per_weight,
        bytes,
        ours: ours.perplexity,
        theirs: theirs.perplexity,
        sameValues: reference && await sameValues(exported, reference),
        ids: {
          count: expected.length,
          theirs: theirs.ids_of_text !== undefined,
          same: sameIds(theirs.ids_of_text ?? expected, expected) &&
            sameIds(this.lowbit.tokenizer(exported).encode(TEXT), expected),
        },
      };
    } finally {
      exported.close();
      reference?.close();
      for (const path of [written, own, `${written}.receipt.json`]) {
        await Deno.remove(path, { recursive: true }).catch(() => {});
      }
    }
  }

  #place(name: string, to: Place): string {
    return `${this.folder}/${name}${to === "gguf" ? ".gguf" : ""}`;
  }

  /** Converts from one target to the next, the last one to where the export is; its bytes. */
  async #convert(from: string, targets: readonly Place[]): Promise<number | undefined> {
    let bytes: number | undefined;
    for (const [i, to] of targets.entries()) {
      const out = this.#place(i === targets.length - 1 ? "export" : `step${i + 1}`, to);
      const checkpoint = await this.lowbit.open(from);
      try {
        const done = await this.lowbit.convert({ checkpoint, to, out, overwrite: true });
        bytes = done.files!.output.reduce((sum, file) => sum + file.bytes, 0);
      } finally {
        checkpoint.close();
        await Deno.remove(from, { recursive: true });
      }
      from = out;
    }
    return bytes;
  }

  /** The importance matrix of a model, through a file as llama.cpp has it. */
  async #importance(model: Checkpoint, recipe: Recipe): Promise<ImportanceMatrix> {
    const { importance } = await this.lowbit.quantize({
      ...{ model, recipe: { ...recipe, importance: true }, to: "gguf", overwrite: true },
      out: `${this.folder}/collected.gguf`,
    });
    return await readImportance(
      memorySource("imatrix", await importanceBytes(importance!, "gguf")),
    );
  }

  /** Runs a program of this repository and returns the JSON document that it prints. */
  async #run(program: string, args: string[]): Promise<unknown> {
    const cwd = new URL("../../", import.meta.url);
    const command = new Deno.Command(program, { args, cwd, stderr: "piped" });
    const { success, stdout, stderr } = await command.output();
    if (success) return JSON.parse(new TextDecoder().decode(stdout));
    throw new Error(`${program} ${args.join(" ")} failed:\n${new TextDecoder().decode(stderr)}`);
  }
}

/** Whether two checkpoints of one model hold the same values, bit for bit. */
async function sameValues(a: Checkpoint, b: Checkpoint): Promise<boolean> {
  const [first, second] = [openModel(a), openModel(b)];
  for (const { id } of first.parameters) {
    const x = new Int32Array((await parameterTensor(first, id).read()).buffer);
    const y = new Int32Array((await parameterTensor(second, id).read()).buffer);
    if (x.length !== y.length || x.some((bits, i) => bits !== y[i])) return false;
  }
  return first.parameters.length === second.parameters.length;
}

function sameIds(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.from(a).every((id, i) => id === b[i]);
}

/** The name of a model's file, and what the model calls itself in it. */
async function nameOf(lowbit: Workbench, path: string): Promise<string> {
  const model = await lowbit.open(path);
  const name = model.gguf?.get("general.name")?.value;
  model.close();
  return path.replace(/^.*[/\\]/, "") + (typeof name === "string" ? ` (${name})` : "");
}

/** The class of this machine. */
function machine(): string {
  const { os, arch } = Deno.build;
  const [{ model }] = cpus();
  return [model.trim(), `${navigator.hardwareConcurrency} cores`, `${os} ${arch}`].join(", ");
}

/** The command. */
const COMMAND: Command = {
  name: "interop",
  usage: "[options]",
  summary: "Compare perplexities of what lowbit wrote with those of the programs that read it.",
  positional: [0, 0],
  options: [
    { name: "python", type: "text", value: "PATH", help: "Python with requirements.txt (python3)" },
    { name: "model", type: "text", value: "FILE", help: "a model beside the embedded one" },
    { name: "windows", type: "integer", value: "N", help: "windows for the embedded model (8)" },
    { name: "model-windows", type: "integer", value: "N", help: "windows for the other model (4)" },
    { name: "only", type: "text", value: "TEXT", help: "cases whose recipe has this in its name" },
    {
      name: "runtime",
      type: "text",
      value: "TEXT",
      help: "cases whose program has this in its name",
    },
    { name: "model-only", type: "text", value: "TEXT", help: "the same for the other model" },
    { name: "brief", type: "flag", help: "the other model: one case of each program and target" },
    {
      name: "keep",
      type: "text",
      value: "FILE",
      help: "keeps cases that are done, to go on later",
    },
    { name: "kept", type: "flag", help: "reports what --keep has, and runs nothing" },
    { name: "report", type: "text", value: "FILE", help: "where the report goes; else to stdout" },
  ],
  async run(args) {
    const folder = await Deno.makeTempDir({ prefix: "lowbit-interop-" });
    try {
      using lowbit = await createWorkbench({ threads: 0 });
      const python = args.text("python") ?? "python3";
      const check = new Check(lowbit, python, folder, await Kept.open(args.text("keep")));
      const windows = args.number("windows") ?? 8;
      const [recipe, runtime] = [args.text("only") ?? "", args.text("runtime") ?? ""];
      const kept = args.flag("kept");
      const only = { recipe, runtime, small: true, brief: false, kept };
      const modelOnly = {
        ...{ ...only, small: false, brief: args.flag("brief") },
        recipe: args.text("model-only") ?? recipe,
      };
      const models = [await check.model("embedded", "The embedded model", windows, true, only)];
      const path = args.text("model");
      if (path !== undefined) {
        const title = await nameOf(lowbit, path);
        models.push(
          await check.model(path, title, args.number("model-windows") ?? 4, false, modelOnly),
        );
      }
      const { failures, versions } = check;
      const text = report({
        ...{ models, machine: machine(), versions, failures },
        kept: kept ? windows : undefined,
      });
      const file = args.text("report");
      if (file === undefined) console.log(text);
      else await Deno.writeTextFile(file, text);
      return failures.length === 0 && models.every(({ cases }) => cases.every(passed)) ? 0 : 1;
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
};

if (import.meta.main) {
  const args = parseArguments(COMMAND, Deno.args);
  if (args.flag("help")) console.log(commandHelp(COMMAND));
  else Deno.exit(await COMMAND.run(args) ?? 0);
}
