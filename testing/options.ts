/**
 * The check of options.
 *
 * @module
 */

import type { Plugin } from "../spec/mod.ts";
import { fingerprint } from "./snapshot.ts";
import type { Findings } from "./report.ts";

interface Node {
  type?: string;
  properties?: Record<string, Node>;
  additionalProperties?: unknown;
  default?: unknown;
  description?: string;
  anyOf?: Node[];
}

/** A key that no plugin has. */
const UNKNOWN = "no_plugin_has_this_option";

/** Options must be complete without input, refuse unknown keys, and say what each leaf is. */
export function checkOptions(plugin: Plugin, findings: Findings): void {
  const { options } = plugin;
  const whole = findings.try("options", "without any", () => options.parse({}));
  findings.case(
    "options",
    accepts(plugin, { [UNKNOWN]: 1 }) ? "an unknown option is taken" : undefined,
  );
  if (whole !== undefined) {
    const again = findings.try("options", "the defaults", () => options.parse(whole));
    const same = fingerprint(again) === fingerprint(whole);
    findings.case("options", same ? undefined : "the defaults do not parse to themselves");
  }
  for (const [path, leaf] of leaves(options.jsonSchema() as Node, "")) {
    findings.case("options", leaf.description ? undefined : `${path} has no description`);
    findings.case("options", leaf.default === undefined ? `${path} has no default` : undefined);
  }
}

function accepts(plugin: Plugin, input: unknown): boolean {
  try {
    plugin.options.parse(input);
    return true;
  } catch {
    return false;
  }
}

/** The leaves of an option schema; objects with a default of their own count by their parts. */
function* leaves(node: Node, path: string): Generator<[string, Node]> {
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const place = path ? `${path}.${key}` : key;
    if (!child.properties) {
      yield [place, child];
      continue;
    }
    for (const [name, leaf] of leaves(child, place)) {
      // A default of the object is one of its leaves.
      const part = (child.default as Record<string, unknown> | undefined)
        ?.[name.slice(place.length + 1)];
      yield [name, leaf.default === undefined ? { ...leaf, default: part } : leaf];
    }
  }
}
