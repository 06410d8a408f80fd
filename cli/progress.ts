/**
 * Progress: events of a run as bars on a terminal, as lines, or as NDJSON; always on stderr. The
 * one module that sees the library that draws bars.
 *
 * @module
 */

import progress from "cli-progress";
import process from "node:process";
import { type EventSink, printable } from "../spec/mod.ts";
import type { Arguments } from "./arguments.ts";

/** Draws events until it is closed. */
export interface ProgressView {
  /** Takes the events of a run. */
  readonly onEvent: EventSink;
  /** Ends the bars, so that other text can follow. */
  close(): void;
}

/** The view that the arguments ask for: `--events`, `--quiet`, or bars. */
export function progressView(args: Arguments): ProgressView {
  if (args.flag("events")) {
    return { onEvent: (event) => writeError(JSON.stringify(event)), close() {} };
  }
  if (args.flag("quiet")) return { onEvent() {}, close() {} };
  return Deno.stderr.isTerminal() ? bars() : lines();
}

/** One bar for the stage at work, and warnings above it. */
function bars(): ProgressView {
  let bar: progress.SingleBar | undefined;
  let stage = "";
  const close = () => {
    bar?.stop();
    bar = undefined;
    stage = "";
  };
  return {
    close,
    onEvent(event) {
      if (event.event === "resume") writeError(resumed(event));
      if (event.event === "warning") {
        close();
        writeError(`warning: ${printable(event.message)}`);
      }
      if (event.event !== "progress") return;
      const { stage: name, total, done, detail = "" } = event;
      if (bar && stage !== name + total) close();
      if (!bar) {
        bar = new progress.SingleBar({
          stream: process.stderr,
          format: "{stage} {bar} {value}/{total} {detail} {eta_formatted} left",
          clearOnComplete: true,
          hideCursor: null,
          emptyOnZero: true,
        }, progress.Presets.shades_classic);
        stage = name + total;
        bar.start(total, done, { stage: name.padEnd(9), detail });
      }
      bar.update(done, { detail });
      if (done >= total) close();
    },
  };
}

/** Where stderr is no terminal: a line when a stage is complete, and warnings. */
function lines(): ProgressView {
  return {
    close() {},
    onEvent(event) {
      if (event.event === "resume") writeError(resumed(event));
      if (event.event === "warning") writeError(`warning: ${printable(event.message)}`);
      if (event.event !== "progress" || event.done < event.total) return;
      if (event.stage === "calibrate") return; // once a block is too much
      writeError(`${event.stage}: ${event.total} done${event.detail ? ` (${event.detail})` : ""}`);
    },
  };
}

function resumed({ blocks, total }: { blocks: number; total: number }): string {
  return `goes on after ${blocks} of ${total} blocks, which an earlier run has left`;
}

/** Where lines go. */
type Sink = (to: "stdout" | "stderr", line: string) => void;

let sink: Sink = (to, line) => {
  const bytes = new TextEncoder().encode(line + "\n");
  for (let at = 0; at < bytes.length;) at += Deno[to].writeSync(bytes.subarray(at));
};

/** Sends the lines of this thread elsewhere. */
export function redirect(other: Sink): void {
  sink = other;
}

/** A line on stderr. */
export function writeError(line: string): void {
  sink("stderr", line);
}

/** A line on stdout. */
export function writeLine(line: string): void {
  sink("stdout", line);
}
