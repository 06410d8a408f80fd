/**
 * The Worker of `lowbit compare --jobs`: a workbench of its own, on one thread, that measures the
 * recipes it is given.
 *
 * @module
 */

import { Bench } from "../compare/bench.ts";
import { isOfRecipe, type Job, type JobAnswer, type JobSetup } from "../compare/jobs.ts";
import { watchedWorkbench } from "../compare/measure.ts";
import { LowbitError } from "../spec/mod.ts";
import { parseArguments } from "./arguments.ts";
import { compareCommand, workbenchOptions } from "./compare.ts";

/** The part of a worker's scope that is used. */
const scope = globalThis as unknown as {
  onmessage: (event: { data: { setup: JobSetup } | { job: Job } }) => void;
  postMessage(message: JobAnswer): void;
};

let bench: Bench | undefined;

async function openBench({ argv, ...setup }: JobSetup): Promise<Bench> {
  const args = parseArguments(compareCommand, [...argv]);
  const options = { ...await workbenchOptions(args), threads: 1 };
  const { lowbit, watch } = await watchedWorkbench(options);
  return await Bench.open(lowbit, watch, await lowbit.open(setup.model), setup);
}

async function answer(message: { setup: JobSetup } | { job: Job }): Promise<JobAnswer> {
  try {
    if ("job" in message) return { measured: await bench!.measure(message.job) };
    bench = await openBench(message.setup);
    return { ready: true };
  } catch (error) {
    const { message: problem } = error as Error;
    const line = error instanceof LowbitError ? error.line() : problem;
    return { error: { problem, line, ofRecipe: "job" in message && isOfRecipe(error) } };
  }
}

scope.onmessage = async ({ data }) => scope.postMessage(await answer(data));
