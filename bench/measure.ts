/**
 * Measuring: medians of repeats that take turns, so that a busy moment of the machine does not fall
 * on one case.
 *
 * @module
 */

import process from "node:process";

/** One of the things that take turns. */
export interface Contender {
  /** What it is called in the results. */
  name: string;
  /** Does the work once. */
  run(): void | Promise<void>;
}

/** Seconds of processor time that this process has used, in all threads. */
export function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Seconds of the clock. */
export function clockSeconds(): number {
  return performance.now() / 1000;
}

/** Seconds of one run of each contender: medians of `rounds` turns of about `slice` seconds. */
export async function takeTurns(
  contenders: readonly Contender[],
  options: { rounds: number; slice: number; clock?: () => number },
): Promise<Map<string, number>> {
  const { rounds, slice, clock = processorSeconds } = options;
  const calls: number[] = [];
  for (const { run } of contenders) {
    const started = clockSeconds();
    let warm = 0;
    // engines compile what runs often once more: warm up for some turns
    do {
      await run();
      warm++;
    } while (clockSeconds() - started < 4 * slice);
    calls.push(Math.max(1, Math.round(warm * slice / (clockSeconds() - started))));
  }
  const samples = contenders.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { run }] of contenders.entries()) {
      const started = clock();
      for (let call = 0; call < calls[i]; call++) await run();
      samples[i].push((clock() - started) / calls[i]);
    }
  }
  return new Map(contenders.map(({ name }, i) => [name, median(samples[i])]));
}

/** The middle one. */
export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
