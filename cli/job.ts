/**
 * The thread of one job: runs a command line and says what it printed. Work here leaves the thread
 * that started it free to keep the job's lock.
 *
 * @module
 */

import { main } from "../cli.ts";
import { redirect } from "./progress.ts";
import type { JobMessage } from "./worker.ts";

const say = (message: JobMessage) =>
  (self as unknown as { postMessage(message: JobMessage): void }).postMessage(message);

self.addEventListener("message", async (event) => {
  redirect((to, line) => say({ to, line }));
  say({ exit: await main((event as MessageEvent<string[]>).data) });
});
