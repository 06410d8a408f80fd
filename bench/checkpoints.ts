/**
 * Whole checkpoints: memory of a data-free run on one that is larger than what it may use, and speed
 * beside other programs. `deno task bench:checkpoints --python PYTHON [--gigabytes 6] [--folder DIR]`
 *
 * Runs that are done are kept in `DIR/runs.ndjson`, so that an interrupted benchmark goes on with the
 * same `--folder`. Peaks of memory are those of whole processes (VmHWM of Linux). Needs Python with `bench/peers/requirements.txt`. Writes docs/generated/bench-checkpoints.md.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { createWorkbench, recipeSchema } from "../mod.ts";

const REPORT = "docs/generated/bench-checkpoints.md";
const MAX_MEMORY = 512 * 2 ** 20;

const args = parseArgs(Deno.args, { string: ["python", "gigabytes", "folder"] }) as {
  python?: string;
  gigabytes?: string;
  folder?: string;
};
const python = args.python ?? "python3";
const folder = args.folder ?? await Deno.makeTempDir({ prefix: "lowbit-checkpoints-" });
const RUNS = `${folder}/runs.ndjson`;

async function json(program: string, line: string[]): Promise<Record<string, unknown>> {
  const command = new Deno.Command(program, { args: line, stderr: "piped" });
  const { success, stdout, stderr } = await command.output();
  if (!success) throw new Error(`${line.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
}

interface MemoryRun {
  what: string;
  source: number;
  largest: number;
  peak: number;
  seconds: number;
}

/** Runs the program in a process of its own; its seconds and the highest of its memory. */
async function watched(line: string[]): Promise<{ seconds: number; peak: number }> {
  const start = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-read", "--allow-write", "cli.ts", ...line],
    ...{ stdout: "null", stderr: "inherit" },
  }).spawn();
  let peak = 0;
  const timer = setInterval(() => {
    try {
      const status = Deno.readTextFileSync(`/proc/${child.pid}/status`);
      peak = Math.max(peak, 1024 * Number(/VmHWM:\s*(\d+)/.exec(status)?.[1] ?? 0));
    } catch {
      // It has just ended.
    }
  }, 250);
  const { success } = await child.status;
  clearInterval(timer);
  if (!success) throw new Error(`lowbit ${line.join(" ")} failed`);
  return { seconds: (performance.now() - start) / 1000, peak };
}

/** The runs that are done. */
function finishedRuns(): MemoryRun[] {
  try {
    return Deno.readTextFileSync(RUNS).trim().split("\n").map((line) => JSON.parse(line));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Large checkpoints quantised and converted, each in a process of its own. */
async function memoryRuns(): Promise<MemoryRun[]> {
  const runs = finishedRuns();
  const quantize = ["--recipe", "rtn-w4g64", "--threads", "2", "--max-memory", "512MiB"];
  const convert = ["--to", "lowbit", "--threads", "2"];
  for (const [hidden, gigabytes] of [["1024", args.gigabytes ?? "6"], ["2048", "0.4"]]) {
    const works = ([["quantize", quantize], ["convert", convert]] as const)
      .map(([name, more]) => ({ name, more, what: `${name} ${more[1]}, hidden ${hidden}` }))
      .filter(({ what }) => !runs.some((run) => run.what === what));
    if (works.length === 0) continue;
    const big = `${folder}/${hidden}`;
    await Deno.remove(big, { recursive: true }).catch(() => {});
    const line = ["bench/checkpoint.py", big, "--gigabytes", gigabytes, "--hidden", hidden];
    const made = await json(python, line) as { bytes: number; largest: number };
    for (const { name, more, what } of works) {
      const out = `${big}-out`;
      const run = await watched([name, big, out, ...more]);
      runs.push({ what, source: made.bytes, largest: made.largest, ...run });
      await Deno.writeTextFile(RUNS, JSON.stringify(runs.at(-1)) + "\n", { append: true });
      await Deno.remove(out, { recursive: true });
    }
    await Deno.remove(big, { recursive: true });
  }
  return runs;
}

interface Speed {
  what: string;
  ours: number;
  theirs: number;
  peer: string;
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

async function speeds(): Promise<{ bytes: number; lines: Speed[] }> {
  const small = `${folder}/small`;
  const made = await json(python, ["bench/checkpoint.py", small, "--gigabytes", "0.15"]);
  using lowbit = await createWorkbench({ threads: 2 });
  const peer = async (...line: string[]) =>
    await json(python, ["bench/peers/checkpoints.py", ...line]) as {
      seconds: number;
      peer: string;
    };
  const lines: Speed[] = [];
  const add = async (what: string, ours: () => Promise<unknown>, line: string[]) => {
    // One after the other, twice; the better of each.
    const [a, first, b, second] = [
      await timed(ours),
      await peer(...line),
      await timed(ours),
      await peer(...line),
    ];
    const theirs = Math.min(first.seconds, second.seconds);
    lines.push({ what, ours: Math.min(a, b), theirs, peer: first.peer });
  };
  const readAll = async (path: string, values: boolean) => {
    const checkpoint = await lowbit.open(path);
    for (const tensor of checkpoint.tensors.values()) {
      await (values ? tensor.read() : tensor.raw());
    }
    checkpoint.close();
  };
  await add("read the bytes of all tensors, bfloat16 safetensors", () => readAll(small, false), [
    "safetensors",
    small,
  ]);
  const convert = async (from: string, out: string, recipe: unknown) => {
    const model = await lowbit.open(from);
    await lowbit.quantize({
      model,
      recipe: recipeSchema.parse(recipe),
      to: "gguf",
      out,
      overwrite: true,
    });
    model.close();
  };
  const half = `${folder}/half.gguf`;
  const q4 = `${folder}/q4.gguf`;
  const base = { summary: "for the benchmark", pipeline: [{ use: "rtn" }] };
  await convert(small, half, {
    ...base,
    name: "float16",
    assign: [{ select: ["blocks.*"] }],
    keep: "float16",
  });
  const q4_0 = { ...base, name: "q4_0", assign: [{ select: ["blocks.*"], weight: "q4_0" }] };
  await add("quantise float16 GGUF to Q4_0", () => convert(half, q4, q4_0), [
    "quantize",
    half,
    `${folder}/peer.gguf`,
  ]);
  await add("values of all tensors, Q4_0 GGUF, as float32", () => readAll(q4, true), [
    "dequantize",
    q4,
  ]);
  return { bytes: made.bytes as number, lines };
}

const runs = await memoryRuns();
const { bytes, lines } = await speeds();
const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
const over = runs.filter(({ peak }) => peak > MAX_MEMORY);
const text = [
  "# Whole checkpoints",
  "",
  `Generated by \`deno task bench:checkpoints\` on two threads of a shared machine, Deno ${Deno.version.deno}.`,
  "",
  "## Memory",
  "",
  "Sharded Llama checkpoints of random bfloat16 weights (`bench/checkpoint.py`), quantised with",
  "`--max-memory 512MiB`, and converted, which works tensor by tensor and has no such option. Peaks are",
  "those of the whole process, of which about 200 MiB are the program itself. " +
  (over.length === 0
    ? "None was over 512 MiB."
    : `Over 512 MiB: ${over.map(({ what }) => what).join("; ")}.`),
  "",
  "| work | on disk, GB | largest tensor, MiB | peak resident, MiB | seconds |",
  "| --- | ---: | ---: | ---: | ---: |",
  ...runs.map(({ what, source, largest, peak, seconds }) =>
    `| ${what} | ${(source / 1e9).toFixed(1)} | ${mib(largest)} | ${mib(peak)} | ${
      seconds.toFixed(0)
    } |`
  ),
  "",
  "## Speed",
  "",
  `On a checkpoint of the same kind of ${
    (bytes / 1e9).toFixed(2)
  } GB, the better of two runs in turn. A ratio above 1 is faster than`,
  "the peer.",
  "",
  "| work | ours, s | peer, s | ratio | peer |",
  "| --- | ---: | ---: | ---: | --- |",
  ...lines.map(({ what, ours, theirs, peer }) =>
    `| ${what} | ${ours.toFixed(2)} | ${theirs.toFixed(2)} | ${
      (theirs / ours).toFixed(2)
    } | ${peer} |`
  ),
  "",
].join("\n");
await Deno.writeTextFile(REPORT, text);
console.log(text);
