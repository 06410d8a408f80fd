/**
 * How a benchmark measures: the median of repeats that are interleaved over all cases, so that a busy
 * moment of the machine does not fall on one case. With one thread, time is the CPU time of the
 * process; with more it is wall-clock time.
 *
 * @module
 */

import process from "node:process";
import { clockSeconds, median, processorSeconds } from "./measure.ts";

/** One measured case. */
export interface Case {
  /** What is measured. */
  case: string;
  /** Its sizes. */
  shape: string;
  /** Threads. */
  threads: number;
  /** What `amount` counts. */
  unit: "GFLOP/s" | "MB/s" | "calls/s";
  /** Work of one call, in units times a second. */
  amount: number;
  /** One call. */
  run(): void;
}

const json = process.argv.includes("--json");
const quick = process.argv.includes("--quick");
const REPEATS = quick ? 3 : 7;
/** Seconds of one repeat, about. */
const SLICE = quick ? 0.01 : 0.03;

/** Numbers without a pattern. */
export function numbers(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 0.37 + (i >> 7)));
}

/** Bytes without a pattern. */
export function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 13);
}

/** Seconds that have passed: of the processor for one thread, else of the clock. */
function seconds(threads: number): number {
  return threads > 1 ? clockSeconds() : processorSeconds();
}

/** Calls that take about one slice of time. */
function calibrate(c: Case): number {
  c.run();
  for (let calls = 1;; calls *= 2) {
    const start = performance.now();
    for (let i = 0; i < calls; i++) c.run();
    const time = (performance.now() - start) / 1000;
    if (time > SLICE / 4) return Math.max(1, Math.round(calls * SLICE / time));
  }
}

/** Measures cases, and prints a line each. */
export function measure(cases: Case[]): void {
  const calls = cases.map(calibrate);
  const samples: number[][] = cases.map(() => []);
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    cases.forEach((c, i) => {
      const start = seconds(c.threads);
      for (let call = 0; call < calls[i]; call++) c.run();
      samples[i].push(c.amount * calls[i] / (seconds(c.threads) - start));
    });
  }
  cases.forEach((c, i) => {
    report(c, Number(median(samples[i]).toPrecision(3)));
  });
}

function report(c: Case, value: number): void {
  const { shape, threads, unit } = c;
  if (json) return console.log(JSON.stringify({ case: c.case, shape, threads, value, unit }));
  const columns = [
    c.case.padEnd(20),
    shape.padEnd(14),
    `${threads} thread${threads > 1 ? "s" : ""}`.padEnd(9),
  ];
  console.log(columns.join(" "), String(value).padStart(8), unit);
}
