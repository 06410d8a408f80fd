/**
 * Trying again what may go well the next time: broken transfers and servers that are busy.
 *
 * @module
 */

import { LowbitError } from "../../spec/errors.ts";

const ATTEMPTS = 5;
const DELAY_MS = 50;

/** Whether an error is of a broken transfer, or of a server that is busy. */
function passing(error: unknown): boolean {
  return error instanceof LowbitError && error.code === "IO" &&
    /^the transfer failed|answers (5\d\d|429|408)/.test(error.problem);
}

/**
 * Does `work` until it goes well, five times at most, with longer and longer pauses. Errors that
 * another attempt would not change are thrown at once. `progressed` says that the last attempt came so
 * far that it counts as the first of a new row.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { LowbitError } from "../../spec/errors.ts";
 * import { retried } from "./retry.ts";
 * let count = 0;
 * // deno-lint-ignore require-await
 * const work = async () => {
 *   if (++count < 3) throw new LowbitError("IO", "the server answers 503");
 *   return count;
 * };
 * assertEquals(await retried(work), 3);
 * ```
 */
export async function retried<T>(
  work: () => Promise<T>,
  progressed: () => boolean = () => false,
): Promise<T> {
  for (let failures = 1;; failures++) {
    try {
      return await work();
    } catch (error) {
      if (progressed()) failures = 1;
      if (!passing(error) || failures >= ATTEMPTS) throw error;
      await new Promise((done) => setTimeout(done, DELAY_MS * 2 ** failures));
    }
  }
}
