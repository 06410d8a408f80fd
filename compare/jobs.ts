/**
 * Recipes of a comparison side by side: Workers that each measure one recipe at a time.
 *
 * @module
 */

import { LowbitError, type Recipe } from "../spec/mod.ts";
import type { Histogram, Protocol } from "./document.ts";
import type { Measured } from "./measure.ts";

/** What every Worker is told once; all of it can be cloned. */
export interface JobSetup {
  /** The command line, of which a Worker makes a workbench like the caller's. */
  argv: readonly string[];
  /** Workers at work. */
  jobs: number;
  /** The model. */
  model: string;
  /** The recipes. */
  recipes: readonly Recipe[];
  /** Calibration windows by set. */
  calibrations: readonly { name: string; windows?: readonly Int32Array[] }[];
  /** What is scored. */
  text: { name: string; windows: Int32Array[]; from: number[] };
  /** How the windows were made. */
  protocol: Protocol;
  /** The tensor that is looked at. */
  tensor: { id: string; histogram: Histogram };
  /** The inputs that are looked at. */
  inputs: { block: number; role: string };
}

/** One recipe with one calibration set, by their numbers. */
export interface Job {
  set: number;
  recipe: number;
  out?: string;
}

/** What a Worker answers: that it is ready, or what came of a job. */
export type JobAnswer =
  | { ready: true }
  | { measured: Measured }
  | { error: { problem: string; line: string; ofRecipe: boolean } };

/** Whether an error is of the recipe, with which it is listed, and not of the machine. */
export function isOfRecipe(error: unknown): error is LowbitError {
  return error instanceof LowbitError && error.code !== "IO";
}

/** An error of a job, which has its text already. */
export class JobError extends Error {
  /** Wraps what a Worker says. */
  constructor(readonly line: string) {
    super(line);
  }
}

/**
 * Runs jobs on Workers; `done` is told of each as it is finished, in any order. The first error that
 * is not of the recipe ends them all, as does the end of the process.
 */
export async function runJobs(
  start: () => Worker,
  setup: JobSetup,
  jobs: readonly Job[],
  told: {
    begin(job: Job): void;
    done(job: Job, result: Measured | JobError): void | Promise<void>;
  },
): Promise<void> {
  const queue = [...jobs];
  const workers: Worker[] = [];
  const serve = async () => {
    const worker = start();
    workers.push(worker);
    await ask(worker, { setup });
    for (let job = queue.shift(); job; job = queue.shift()) {
      told.begin(job);
      const answer = await ask(worker, { job });
      if ("measured" in answer) await told.done(job, answer.measured);
      else if ("error" in answer) await told.done(job, new JobError(answer.error.line));
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(setup.jobs, jobs.length) }, serve));
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

/** Sends a message and waits for the answer; an error that is no recipe's is thrown. */
function ask(worker: Worker, message: { setup: JobSetup } | { job: Job }): Promise<JobAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<JobAnswer>();
  worker.onmessage = ({ data }: MessageEvent<JobAnswer>) => {
    if (!("error" in data) || data.error.ofRecipe) return resolve(data);
    reject(
      new LowbitError("IO", `a job has failed: ${data.error.problem}`, {
        advice: "run without --jobs to see where",
      }),
    );
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(
      new LowbitError("IO", `a job has ended: ${event.message}`, {
        advice: "run again with --jobs 1; what is finished is kept",
      }),
    );
  };
  worker.postMessage(message);
  return promise;
}
