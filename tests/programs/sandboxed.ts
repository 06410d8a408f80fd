/**
 * A run with a plugin in a sandbox, as a program: Deno does not stop a Worker in a loop (its issue
 * 35657), so what a plugin that is stopped for its limits goes on to take ends with the process.
 *
 * `deno run -A tests/programs/sandboxed.ts PLUGIN SECONDS BYTES` prints `{ message, grown }`: how the
 * run ended, and the bytes that the process had grown by then.
 *
 * @module
 */

import { openSandbox, type SandboxLimits } from "../../sandbox/mod.ts";
import { bench, recipeOf, run } from "../engine_bench.ts";

/** What a run with the plugin of a text ends in. */
export async function outcome(text: string, limits: SandboxLimits): Promise<string> {
  try {
    using sandbox = await openSandbox(text, "guest.ts", limits);
    using _ = await run(bench(...sandbox.plugins), recipeOf(["guest"]));
    return "done";
  } catch (error) {
    return (error as Error).message;
  }
}

if (import.meta.main) {
  const [plugin, seconds, bytes] = Deno.args;
  const text = await Deno.readTextFile(plugin);
  const before = Deno.memoryUsage().rss;
  const message = await outcome(text, { seconds: Number(seconds), bytes: Number(bytes) });
  console.log(JSON.stringify({ message, grown: Deno.memoryUsage().rss - before }));
  Deno.exit(0); // the plugin may still be at it
}
