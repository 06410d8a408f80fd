/**
 * Values as short texts: to see whether two are the same bytes, and whether one was changed.
 *
 * @module
 */

import { type Plugin, PLUGIN_HOOKS } from "../spec/mod.ts";
import type { Findings } from "./report.ts";

/** A text that is the same for the same values: numbers by their bits, arrays by a hash. */
export function fingerprint(value: unknown): string {
  return walk(value, 0);
}

function walk(value: unknown, depth: number): string {
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    return `${value.constructor.name}(${byteLength}:${hash(bytes)})`;
  }
  if (typeof value !== "object" || value === null) {
    return typeof value === "function" ? "" : Object.is(value, -0) ? "-0" : String(value);
  }
  if (depth > 8) return "...";
  if (value instanceof Map) return `Map${walk([...value], depth + 1)}`;
  if (Array.isArray(value)) return `[${value.map((item) => walk(item, depth + 1)).join(",")}]`;
  const { array } = value as { array?: unknown };
  if (ArrayBuffer.isView(array)) return walk(array, depth + 1);
  const parts = Object.entries(value).map(([key, item]) => `${key}:${walk(item, depth + 1)}`);
  return `{${[...parts, ...viewed(value, depth)].join(",")}}`;
}

/** What a view of a block gives when it is asked: weights and statistics. */
function viewed(value: object, depth: number): string[] {
  const view = value as {
    linears?: readonly { role: string; id: string }[];
    weight(role: string): unknown;
    statistics(role: string): unknown;
  };
  if (typeof view.weight !== "function" || typeof view.statistics !== "function") return [];
  return (view.linears ?? []).map(({ role }) =>
    walk([view.weight(role), view.statistics(role)], depth + 1)
  );
}

/** FNV-1a over 32-bit words, twice with different seeds: enough to see a change. */
function hash(bytes: Uint8Array): string {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x5bd1e995) + 1;
  }
  return `${(a >>> 0).toString(36)}.${(b >>> 0).toString(36)}`;
}

/** What of the arguments of a hook is not an input: it holds kernels and state of its own. */
const NOT_INPUTS = ["context", "codec", "model"];

/** The plugin with hooks that tell when they change what they are given. */
export function guarded(plugin: Plugin, findings: Findings): Plugin {
  const hooks: Record<string, unknown> = {};
  for (const name of PLUGIN_HOOKS) {
    const hook = plugin[name] as ((args: Record<string, unknown>) => unknown) | undefined;
    if (!hook) continue;
    hooks[name] = (args: Record<string, unknown>) => {
      const before = inputs(args);
      const result = hook.call(plugin, args);
      const after = inputs(args);
      const changed = Object.keys(before).filter((key) => before[key] !== after[key]);
      findings.case(
        "inputs",
        changed.length === 0 ? undefined : `${name} changed its ${changed.join(" and ")}`,
      );
      return result;
    };
  }
  return { ...plugin, ...hooks };
}

function inputs(args: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(args).filter(([key]) => !NOT_INPUTS.includes(key))
      .map(([key, value]) => [key, fingerprint(value)]),
  );
}
