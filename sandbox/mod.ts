/**
 * Plugins that are not trusted, in a Worker without permissions.
 *
 * The engine calls hooks and waits for them. So the calling thread sleeps while the Worker runs, and
 * wakes to answer what the plugin asks, to look at the clock, and to look at the memory of the
 * process. A Worker that takes too much of either is ended; the run ends in an error. Deno ends a
 * Worker only when it comes back from its loop (denoland/deno#35657): one that does not goes on until
 * the process ends. The command line ends then; a program of yours should do so as well.
 *
 * @module
 */

import { receiveMessageOnPort } from "node:worker_threads";
import {
  checkManifest,
  LowbitError,
  type Plugin,
  PLUGIN_HOOKS,
  type PluginMeta,
  type Rng,
} from "../spec/mod.ts";
import { type Message, Wire } from "./wire.ts";

/** What a plugin may take. */
export interface SandboxLimits {
  /** Seconds that a call of a hook may take. */
  seconds: number;
  /** Bytes that it may add to the memory of the process. */
  bytes: number;
}

/** A sandbox with the plugins of one module. */
export interface Sandbox extends Disposable {
  /** The plugins; their hooks run in the Worker. */
  plugins: Plugin[];
  /** Ends the Worker. */
  close(): void;
}

/** How often the clock and the memory are looked at, in milliseconds. */
const TICK = 10;
/** Seconds in which the Worker must have loaded its modules, before the plugin. */
const START_SECONDS = 120;
/** Random numbers that are sent at once. */
const NUMBERS = 1024;

/** What a hook may see of a view of a block or a model; everything else stays outside. */
const VIEWS: Record<string, readonly string[]> = {
  block: [
    ...["index", "linears", "edges", "hyperparameters", "weight", "statistics", "schemes"],
    ...["quantized", "inputs", "forward"],
  ],
  model: [
    ...["hyperparameters", "linears", "graph", "edges", "tied", "schemes", "windows", "weight"],
    ...["candidates", "planned", "rounded", "divergence", "blockError"],
  ],
};

/**
 * Runs the plugins of a module in a sandbox. `source` is the text of one TypeScript or JavaScript
 * module that imports nothing but the public names of lowbit and zod; `name` stands for it in
 * errors. Needs a host that can give a Worker fewer permissions (`--unstable-worker-options`).
 */
export async function openSandbox(
  source: string,
  name: string,
  limits: SandboxLimits,
): Promise<Sandbox> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    deno: { permissions: "none" },
  } as WorkerOptions);
  const { port1: port, port2 } = new MessageChannel();
  const flags = new Int32Array(new SharedArrayBuffer(8));
  let ended: LowbitError | undefined;
  let used = 0;
  const fail = (problem: string, advice?: string) => {
    worker.terminate();
    port.close();
    return ended = new LowbitError("PLUGIN", problem, { file: name, advice });
  };
  const receive = receiveMessageOnPort as (port: unknown) => { message: Message } | undefined;
  const send = (message: Message) => {
    port.postMessage(message);
    Atomics.add(flags, 1, 1);
    Atomics.notify(flags, 1);
  };
  /** The next message from the Worker, within the limits. */
  const next = (deadline: number, before: number, bytes: number): Message => {
    for (;;) {
      const seen = Atomics.load(flags, 0);
      const got = receive(port);
      if (got) return got.message;
      Atomics.wait(flags, 0, seen, TICK);
      if (performance.now() > deadline) {
        throw fail(`ran for more than ${limits.seconds} s`, "allow more with --sandbox-seconds");
      }
      if (used + Deno.memoryUsage().rss - before > bytes) {
        throw fail(
          `took more than ${limits.bytes} bytes of memory`,
          "allow more with --sandbox-memory",
        );
      }
    }
  };
  const wire: Wire = new Wire("host", (fn, args) => {
    send({ kind: "call", fn, args });
    return exchange();
  });
  /** Answers what the plugin asks until it gives a value. */
  const exchange = (seconds = limits.seconds, bytes = limits.bytes): unknown => {
    const before = Deno.memoryUsage().rss;
    const deadline = performance.now() + 1000 * seconds;
    for (;;) {
      const message = next(deadline, before, bytes);
      if (message.kind === "call") {
        try {
          send({ kind: "value", value: wire.encode(wire.invoke(message.fn, message.args)) });
        } catch (error) {
          const { code, problem } = error as LowbitError;
          send({ kind: "error", code, problem: problem ?? String(error) });
        }
        continue;
      }
      used += Math.max(0, Deno.memoryUsage().rss - before);
      if (message.kind === "value") return message.value;
      const { code = "PLUGIN", problem, field, advice } = message;
      throw new LowbitError(code as "PLUGIN", problem, { file: name, field, advice });
    }
  };
  const bytes = new TextEncoder().encode(source);
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  worker.postMessage({ source: text, name, port: port2, flags }, [port2]);
  worker.onerror = (event) => event.preventDefault();
  const guard = <A extends unknown[], R>(run: (...args: A) => R) => (...args: A): R => {
    if (ended) throw ended;
    return run(...args);
  };
  const close = () => {
    worker.terminate();
    port.close();
  };
  try {
    exchange(START_SECONDS, Infinity);
    used = 0;
    const found = wire.decode(exchange()) as Exposed[];
    if (found.length === 0) throw fail("exports no plugin", "export the result of definePlugin");
    const plugins = found.map((plugin) => proxy(plugin, guard));
    for (const plugin of plugins) checkManifest(plugin);
    return await Promise.resolve({ plugins, close, [Symbol.dispose]: close });
  } catch (error) {
    close();
    throw error;
  }
}

/** A plugin as the Worker sends it. */
interface Exposed {
  meta: PluginMeta;
  kind: string;
  parse(input: unknown, file?: string): unknown;
  jsonSchema(): string;
  hooks: Record<string, (args: unknown) => unknown>;
}

type Guard = <A extends unknown[], R>(run: (...args: A) => R) => (...args: A) => R;

/** The plugin that the engine sees. */
function proxy({ meta, kind, parse, jsonSchema, hooks }: Exposed, guard: Guard): Plugin {
  if (meta.needs?.autodiff) {
    throw new LowbitError("PLUGIN", "needs gradients, which a sandbox does not have", {
      file: meta.name,
      advice: "run it without --sandbox if you trust it",
    });
  }
  const plugin: Record<string, unknown> = {
    meta,
    options: { kind, parse: guard(parse), jsonSchema: () => JSON.parse(jsonSchema()) },
  };
  for (const name of PLUGIN_HOOKS) {
    const hook = hooks[name];
    if (hook) plugin[name] = guard((args: Record<string, unknown>) => hook(outside(args)));
  }
  return plugin as unknown as Plugin;
}

/** The arguments of a hook, without what stays on this side. */
function outside(args: Record<string, unknown>): Record<string, unknown> {
  const { options, rng, warn } = args.context as {
    options: unknown;
    rng(label: string): Rng;
    warn(message: string): void;
  };
  const draw = (label: string) => {
    const source = rng(label);
    return () => Uint32Array.from({ length: NUMBERS }, () => source.uint32());
  };
  const sent: Record<string, unknown> = { ...args, context: { options, draw, warn } };
  const codec = args.codec as { scheme?: unknown; format?: unknown } | undefined;
  if (codec) sent.codec = codec.scheme ? { scheme: codec.scheme } : { format: codec.format };
  for (const [name, keys] of Object.entries(VIEWS)) {
    const view = args[name];
    if (typeof view === "object" && view !== null) sent[name] = pick(view as never, keys);
  }
  return sent;
}

function pick(view: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (const key of keys) {
    const value = view[key];
    if (value === undefined) continue;
    picked[key] = typeof value === "function" ? value.bind(view) : value;
  }
  return picked;
}
