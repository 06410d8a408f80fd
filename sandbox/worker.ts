/**
 * The inside of a sandbox: a Worker without permissions that runs the plugins of one module.
 *
 * The public modules are imported here, before the plugin is: what it imports by their names is then
 * there, and nothing else can be read.
 *
 * @module
 */

import "../mod.ts";
import "../spec/plugin.ts";
import "zod";
import { receiveMessageOnPort } from "node:worker_threads";
import { rngFrom } from "../engine/rng.ts";
import { createCodecs } from "../formats/codec.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import {
  LowbitError,
  type Plugin,
  PLUGIN_HOOKS,
  type ResolvedScheme,
  type VectorFormat,
} from "../spec/mod.ts";
import { type Message, Wire } from "./wire.ts";

interface Start {
  source: string;
  name: string;
  port: MessagePort;
  /** Rises when a message lies on the port: for the host, for this side. */
  flags: Int32Array;
}

const scope = globalThis as unknown as Record<string, unknown>;

scope.onmessage = async ({ data }: MessageEvent<Start>) => {
  const { source, name, port, flags } = data;
  scope.onmessage = null;
  const kernels = await loadKernels({ threads: 1 });
  const codecs = createCodecs(kernels);
  const receive = receiveMessageOnPort as (port: unknown) => { message: Message } | undefined;
  const wait = Atomics.wait, add = Atomics.add, notify = Atomics.notify;
  const send = (message: Message) => {
    port.postMessage(message);
    add(flags, 0, 1);
    notify(flags, 0);
  };
  const uploaded: { free(): void }[] = [];
  let seen = 0;
  /** The next message from the host. */
  const next = (): Message => {
    for (;;) {
      const got = receive(port);
      if (got) return got.message;
      seen = Atomics.load(flags, 1);
      const again = receive(port);
      if (again) return again.message;
      wait(flags, 1, seen);
    }
  };
  const wire = new Wire("plugin", (fn, args) => {
    send({ kind: "call", fn, args });
    for (;;) {
      const message = next();
      if (message.kind === "call") answer(message);
      else if (message.kind === "value") return message.value;
      else throw errorOf(message);
    }
  }, (array) => {
    const buffer = kernels.upload(array);
    uploaded.push(buffer);
    return buffer;
  });
  const answer = ({ fn, args }: Message & { kind: "call" }) => {
    try {
      const value = wire.encode(wire.invoke(fn, args));
      send({ kind: "value", value });
    } catch (error) {
      send(errorMessage(error));
    }
  };

  closeDoors();
  send({ kind: "value", value: true }); // ready: the limits begin
  try {
    const module = await import(`data:application/typescript;base64,${source}`);
    const plugins = [...new Set(Object.values(module))].filter(isPlugin);
    send({ kind: "value", value: wire.encode(plugins.map((plugin) => exposed(plugin))) });
  } catch (error) {
    const { message } = error as Error;
    // The address of the module is its whole text.
    const problem = message.replaceAll(/data:application\/typescript[^\s'"]*/g, name);
    return send({ kind: "error", problem: `cannot be imported: ${problem}` });
  }
  for (;;) {
    const message = next();
    if (message.kind === "call") answer(message);
    for (const buffer of uploaded.splice(0)) buffer.free();
  }

  /** A plugin as its host sees it: hooks take what can be sent, and get codecs of this side. */
  function exposed(plugin: Plugin) {
    const hooks: Record<string, unknown> = {};
    for (const hook of PLUGIN_HOOKS) {
      const run = plugin[hook] as ((args: unknown) => unknown) | undefined;
      if (run) hooks[hook] = (args: Record<string, unknown>) => run.call(plugin, inside(args));
    }
    const { kind } = plugin.options;
    return {
      meta: plugin.meta,
      kind,
      parse: (input: unknown, file?: string) => plugin.options.parse(input, file),
      jsonSchema: () => JSON.stringify(plugin.options.jsonSchema()),
      hooks,
    };
  }

  function inside(args: Record<string, unknown>): Record<string, unknown> {
    const { options, draw, warn } = args.context as {
      options: unknown;
      draw(label: string): () => Uint32Array;
      warn(message: string): void;
    };
    const rng = (label: string) => {
      const more = draw(label);
      let [numbers, at] = [new Uint32Array(0), 0];
      return rngFrom(() => {
        if (at === numbers.length) [numbers, at] = [more() as Uint32Array<ArrayBuffer>, 0];
        return numbers[at++];
      });
    };
    const context = { options, rng, warn, kernels, codecs };
    const { codec } = args as { codec?: { scheme?: ResolvedScheme; format?: VectorFormat } };
    if (!codec) return { ...args, context };
    const own = codec.scheme ? codecs.get(codec.scheme) : codecs.vector(codec.format!);
    return { ...args, context, codec: own };
  }
};

/** Takes away what would talk to the user; everything else is a matter of permissions. */
function closeDoors(): void {
  for (const name of ["prompt", "confirm", "alert", "Worker"]) delete scope[name];
}

function isPlugin(value: unknown): value is Plugin {
  const plugin = value as Partial<Plugin> | null;
  return typeof plugin === "object" && plugin !== null && typeof plugin.meta === "object" &&
    typeof plugin.options === "object";
}

function errorMessage(error: unknown): Message {
  if (!(error instanceof LowbitError)) return { kind: "error", problem: String(error) };
  const { code, problem, field, advice } = error;
  return { kind: "error", code, problem, field, advice };
}

function errorOf({ code, problem, field, advice }: Message & { kind: "error" }): Error {
  return code === undefined
    ? new Error(problem)
    : new LowbitError(code as never, problem, { field, advice });
}
