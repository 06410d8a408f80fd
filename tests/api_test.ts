/**
 * The public API: what each entry of deno.json exports. After a change that is meant, write the
 * snapshot again: `deno run -A tests/api_test.ts --update`, and add the change to CHANGELOG.md.
 */

import { assert, assertEquals } from "@std/assert";
import { ROOT, runDeno } from "./process.ts";

/** What `deno doc --json` says of one module. */
interface DocModule {
  module_doc?: { doc?: string };
  symbols: {
    name: string;
    declarations: {
      kind: string;
      declarationKind: string;
      jsDoc?: { doc?: string };
    }[];
  }[];
}

const SNAPSHOT = `${ROOT}/tests/snapshots/api.json`;
const EXPORTS: Record<string, string> = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`))
  .exports;

async function documented(entry: string): Promise<DocModule> {
  const { code, stdout, stderr } = await runDeno(["doc", "--json", `${ROOT}/${entry}`]);
  if (code !== 0) throw new Error(stderr);
  return Object.values(JSON.parse(stdout).nodes)[0] as DocModule;
}

/** Names and kinds of every export, by entry. */
async function publicApi(): Promise<Record<string, Record<string, string>>> {
  const api: Record<string, Record<string, string>> = {};
  for (const [name, path] of Object.entries(EXPORTS)) {
    const { symbols } = await documented(path);
    const kinds = symbols.map(({ name, declarations }) =>
      [name, [...new Set(declarations.map(({ kind }) => kind))].join(" and ")] as const
    );
    api[name] = Object.fromEntries(kinds.toSorted(([a], [b]) => a < b ? -1 : 1));
  }
  return api;
}

const text = (api: unknown) => JSON.stringify(api, null, 2) + "\n";

Deno.test("the public API is as in the snapshot", async () => {
  assertEquals(
    JSON.parse(Deno.readTextFileSync(SNAPSHOT)),
    await publicApi(),
    "if it is meant: deno run -A tests/api_test.ts --update",
  );
});

Deno.test("every entry and every export has a doc comment", async () => {
  const bare: string[] = [];
  for (const [entry, path] of Object.entries(EXPORTS)) {
    const { module_doc, symbols } = await documented(path);
    assert(module_doc?.doc, `${path} does not say what it is`);
    for (const { name, declarations } of symbols) {
      if (!declarations.some(({ jsDoc }) => jsDoc?.doc)) bare.push(`${entry}: ${name}`);
    }
  }
  assertEquals(bare, []);
});

if (import.meta.main && Deno.args.includes("--update")) {
  Deno.writeTextFileSync(SNAPSHOT, text(await publicApi()));
}
