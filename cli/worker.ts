/**
 * `lowbit worker`
 *
 * @module
 */

import { LowbitError, printable, unknownName } from "../spec/mod.ts";
import { type Command, usage } from "./arguments.ts";
import { writeError, writeLine } from "./progress.ts";
import { abortOnSignals } from "./quantize.ts";
import type { Job, JobData, JobResult, Outcome } from "./queue.ts";

/** What the thread of a job (job.ts) says: a line as it is printed, and at last the exit code. */
export type JobMessage = { to: "stdout" | "stderr"; line: string } | { exit: number };

/** What a job may ask for: work with an end, on files, by code that is here already. */
const COMMANDS = ["quantize", "plan", "eval", "compare", "generate", "convert", "adapter"]
  .concat(["inspect", "verify", "lint"]);
const MOST_JOBS = 100_000;
const MOST_WORDS = 1000;

/** The command. */
export const workerCommand: Command = {
  name: "worker",
  usage: "--queue URL [--drain | --submit FILE]",
  summary: "Do command lines from a queue in Redis, or submit some and wait for their results.",
  positional: [0, 0],
  options: [
    { name: "queue", type: "text", value: "URL", help: "redis://HOST:PORT (or rediss://)" },
    { name: "drain", type: "flag", help: "end when no job waits, instead of waiting for more" },
    {
      name: "submit",
      type: "text",
      value: "FILE",
      help:
        'a JSON array of command lines, each an array of words: [["quantize", "in", "out", ...]]',
    },
  ],
  async run(args) {
    const address = args.text("queue");
    if (address === undefined) throw usage(workerCommand, "--queue is missing");
    const [file, quiet, json] = [args.text("submit"), args.flag("quiet"), args.flag("json")];
    if (file !== undefined) {
      if (args.flag("drain")) throw usage(workerCommand, "--submit and --drain exclude each other");
      return await submit(address, await readJobs(file), { quiet, json });
    }
    const { signal, release } = abortOnSignals();
    const note = (line: string) => quiet || writeError(line);
    let done = 0;
    try {
      const { serveJobs } = await import("./queue.ts");
      await serveJobs(address, async (job) => {
        const result = await work(job, note, signal);
        done++;
        return result;
      }, {
        drain: args.flag("drain"),
        signal,
        onReady: () => note(`waits for jobs at ${new URL(address).host} (stop with Ctrl-C)`),
      });
    } finally {
      release();
    }
    if (json) writeLine(JSON.stringify({ done }));
    else note(`${done} ${done === 1 ? "job" : "jobs"} done`);
  },
};

/** What a file of jobs holds. */
const ADVICE = 'write [["quantize", "IN", "OUT", "--recipe", "rtn-w4g64"]]';

/** The jobs of a file; each is checked before any is added. */
async function readJobs(file: string): Promise<JobData[]> {
  let lines: unknown;
  try {
    lines = JSON.parse(await Deno.readTextFile(file));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) {
      throw new LowbitError("IO", "cannot be read", { file, advice: "check the path", cause });
    }
    throw new LowbitError("MALFORMED", `is not JSON: ${cause.message}`, {
      file,
      advice: ADVICE,
    });
  }
  if (!Array.isArray(lines) || lines.length === 0 || lines.length > MOST_JOBS) {
    throw new LowbitError("SCHEMA", `must be an array of 1 to ${MOST_JOBS} command lines`, {
      file,
      advice: ADVICE,
    });
  }
  return lines.map((args, i) => checked({ args }, `${file}: [${i}]`));
}

/** A job that may run here. */
function checked(data: unknown, where: string): JobData {
  const args = (data as Partial<JobData> | null)?.args;
  const words = Array.isArray(args) && args.every((word) => typeof word === "string");
  if (!words || args.length === 0 || args.length > MOST_WORDS) {
    throw new LowbitError("SCHEMA", `must be 1 to ${MOST_WORDS} words of text`, {
      field: where,
      advice: "give the words after `lowbit`, each as a text of its own",
    });
  }
  if (!COMMANDS.includes(args[0])) {
    const { problem, advice } = unknownName("command of jobs", args[0], COMMANDS);
    throw new LowbitError("UNKNOWN_NAME", problem, { field: where, advice });
  }
  if (args.some((word) => /^--(plugin|allow-pickle-tensors)(=|$)/.test(word))) {
    throw new LowbitError("UNSUPPORTED", "a job may not bring code or pickles", {
      field: where,
      advice: "run such a command line yourself",
    });
  }
  return { args };
}

async function submit(
  address: string,
  jobs: JobData[],
  options: { quiet: boolean; json: boolean },
): Promise<number> {
  const { submitJobs } = await import("./queue.ts");
  let ended = 0;
  const say = ({ id, args, error }: Outcome) => {
    ended++;
    const words = printable(args.slice(0, 3).join(" "));
    const how = error === undefined ? "done" : printable(error);
    if (!options.quiet) writeError(`${ended} of ${jobs.length}: job ${id} (${words}): ${how}`);
  };
  const outcomes = await submitJobs(address, jobs, say);
  if (options.json) writeLine(JSON.stringify({ jobs: outcomes }));
  else {
    for (const { result } of outcomes) if (result) writeLine(JSON.stringify(result.document));
  }
  return outcomes.some(({ error, result }) => error !== undefined || result?.exit) ? 1 : 0;
}

/** Runs a job in a thread of its own; throws its error line if it prints no document. */
async function work(
  job: Job,
  note: (line: string) => void,
  signal: AbortSignal,
): Promise<JobResult> {
  const { args } = checked(job.data, `job ${job.id}`);
  note(`job ${job.id}: ${printable(args.join(" "))}`);
  const thread = new Worker(new URL("./job.ts", import.meta.url), { type: "module" });
  const printed: string[] = [];
  let failure = "";
  const { promise: ended, resolve, reject } = Promise.withResolvers<number>();
  const stop = () => reject(new Error("the worker was stopped"));
  try {
    signal.addEventListener("abort", stop);
    thread.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    thread.onmessage = ({ data }: MessageEvent<JobMessage>) => {
      if ("exit" in data) return resolve(data.exit);
      if (data.to === "stdout") return void printed.push(data.line);
      if (data.line.startsWith('{"event":')) return job.progress(JSON.parse(data.line));
      failure = data.line;
      note(`job ${job.id}: ${data.line}`);
    };
    thread.postMessage([...args.filter((word) => word !== "--quiet"), "--json", "--events"]);
    const exit = await ended;
    if (printed.length === 0) throw new Error(failure || `ended with ${exit}`);
    return { exit, document: JSON.parse(printed.join("\n")) };
  } finally {
    signal.removeEventListener("abort", stop);
    thread.terminate();
  }
}
