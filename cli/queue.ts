/**
 * Command lines as jobs of a queue in Redis. The one module that sees the library of the queue.
 *
 * A job is `{ args }`: the words after `lowbit`. Its result is `{ exit, document }`. Any program
 * that speaks BullMQ can add jobs and read results; the queue's name is "lowbit".
 *
 * @module
 */

import { Queue, QueueEvents, UnrecoverableError, WaitingError, Worker } from "bullmq";
import { Redis } from "ioredis";
import { LowbitError } from "../spec/mod.ts";

/** What a job asks for. */
export interface JobData {
  /** The words of a command line after `lowbit`. */
  args: string[];
}

/** What a job gives. */
export interface JobResult {
  /** The exit code of the command. */
  exit: number;
  /** The JSON document that the command printed. */
  document: unknown;
}

/** A job as its worker sees it. */
export interface Job {
  /** The name that the queue gave it. */
  id: string;
  /** What it asks for; nobody has checked it yet. */
  data: unknown;
  /** Tells whoever watches how far it is. */
  progress(value: object): void;
}

/** How a job ended. */
export interface Outcome {
  /** The name that the queue gave it. */
  id: string;
  /** Its words. */
  args: string[];
  /** Its result, if it has one. */
  result?: JobResult;
  /** Why it failed, if it did. */
  error?: string;
}

const NAME = "lowbit";

/** A connection that works, or an error that says why there is none. */
async function connect(address: string): Promise<Redis> {
  let url;
  try {
    url = new URL(address);
  } catch {
    throw badAddress();
  }
  if (!["redis:", "rediss:"].includes(url.protocol) || !url.hostname) throw badAddress();
  let alive = false;
  const redis = new Redis(address, {
    lazyConnect: true,
    maxRetriesPerRequest: null, // a worker waits for a server that restarts
    retryStrategy: (times: number) => alive ? Math.min(times * 200, 5000) : null,
  });
  let reason = "";
  redis.on("error", (error: Error) => reason = error.message);
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    redis.disconnect();
    throw new LowbitError("IO", `cannot reach the queue: ${reason || (error as Error).message}`, {
      file: url.host,
      advice: "start a Redis server there, or allow the address by --allow-net=HOST:PORT",
      cause: error,
    });
  }
  alive = true;
  return redis;
}

function badAddress(): LowbitError {
  return new LowbitError("USAGE", "--queue must be an address of Redis", {
    advice: "write redis://HOST:PORT, or rediss://USER:PASSWORD@HOST:PORT",
  });
}

/**
 * Adds jobs and waits until all have ended, whoever does them. Outcomes are in the order of jobs.
 */
export async function submitJobs(
  address: string,
  jobs: readonly JobData[],
  onEnd: (outcome: Outcome) => void,
): Promise<Outcome[]> {
  const redis = await connect(address);
  const queue = new Queue<JobData, JobResult>(NAME, { connection: redis });
  const events = new QueueEvents(NAME, { connection: redis.duplicate() });
  try {
    await events.waitUntilReady();
    const added = await queue.addBulk(jobs.map((data) => ({ name: data.args[0], data })));
    return await Promise.all(added.map(async (job) => {
      const outcome: Outcome = { id: job.id!, args: job.data.args };
      try {
        outcome.result = await job.waitUntilFinished(events) as JobResult;
      } catch (error) {
        outcome.error = (error as Error).message;
      }
      onEnd(outcome);
      return outcome;
    }));
  } finally {
    await events.close();
    await queue.close();
    redis.disconnect();
  }
}

/** How long a job stays with a worker that says nothing, and how often the others look, ms. */
const LOCK = { lockDuration: 20_000, stalledInterval: 10_000 };

/**
 * Does jobs one after the other until `signal` is aborted, or with `drain` until none waits. The
 * job of a worker that is stopped waits again at once, and that of one that dies when its lock has
 * run out; a job that throws has failed.
 */
export async function serveJobs(
  address: string,
  work: (job: Job) => Promise<JobResult>,
  options: { drain?: boolean; signal: AbortSignal; onReady?: () => void },
): Promise<void> {
  const redis = await connect(address);
  options.onReady?.();
  const worker = new Worker<unknown, JobResult>(NAME, async (job, token) => {
    try {
      return await work({
        id: job.id!,
        data: job.data,
        progress: (value) => void job.updateProgress(value).catch(() => {}),
      });
    } catch (error) {
      if (options.signal.aborted) {
        await job.moveToWait(token);
        throw new WaitingError();
      }
      // The same words would fail again.
      throw new UnrecoverableError(error instanceof Error ? error.message : String(error));
    }
  }, { connection: redis, ...LOCK, maxStalledCount: 100, autorun: false });
  worker.on("error", () => {}); // a server that goes away: the connection is made again
  try {
    await new Promise<void>((resolve, reject) => {
      options.signal.addEventListener("abort", () => resolve());
      if (options.signal.aborted) resolve();
      if (options.drain) worker.on("drained", () => resolve());
      worker.run().catch(reject);
    });
  } finally {
    await worker.close();
    redis.disconnect();
  }
}
