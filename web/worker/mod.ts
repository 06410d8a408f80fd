/**
 * The program of the workers: takes calls one at a time, except `stop`.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import type { Answer, Calls, Fault, Request } from "../protocol.ts";
import { Session } from "./session.ts";

/** The part of a worker's scope that is used. */
const scope = globalThis as unknown as {
  onmessage: (event: { data: Request }) => void;
  postMessage(message: Answer): void;
};

let session: Session | undefined;

type Handler<K extends keyof Calls> = (
  args: Calls[K]["args"],
  onEvent: (event: Calls[K]["event"]) => void,
) => Calls[K]["result"] | Promise<Calls[K]["result"]>;

const handlers: { [K in keyof Calls]: Handler<K> } = {
  async start(args) {
    session = await Session.start(args);
    return { threads: session.threads };
  },
  examine: (args) => session!.examine(args),
  open: (args) => session!.open(args),
  sample: (args) => session!.sample(args),
  plans: (args) => session!.plans(args),
  quantize: (args, onEvent) => session!.quantize(args, onEvent),
  reopen: (args) => session!.reopen(args),
  evaluate: (args, onEvent) => session!.evaluate(args, onEvent),
  generate: (args, onEvent) => session!.generate(args, onEvent),
  memory: () => session!.memory(),
  stop: () => session!.stop(),
};

/** An error as the page shows it; the line is taken from a place such as `format:4`. */
function faultOf(error: unknown): Fault {
  if (!(error instanceof LowbitError)) {
    return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
  }
  const { code, file = "", field, problem, advice } = error;
  const [, place = file, line] = /^(.*?):(\d+)$/.exec(file) ?? [];
  const where = [line ? "" : place, field].filter(Boolean).join(": ");
  const text = [where, problem].filter(Boolean).join(": ") + (advice ? `; ${advice}` : "");
  return { code, message: text, ...(line && { line: Number(line) }) };
}

scope.onmessage = async ({ data: { id, call, args } }) => {
  try {
    const handler = handlers[call] as Handler<typeof call>;
    const result = await handler(args, (event) => scope.postMessage({ id, event }));
    scope.postMessage({ id, result });
  } catch (error) {
    scope.postMessage({ id, fault: faultOf(error) });
  }
};
