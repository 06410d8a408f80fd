/**
 * Examples: every exported function, class and constant of the entries of deno.json has a doc
 * comment with an `@example` in a ```` ```ts ```` block. That they run is checked by
 * `deno test --doc`, which is part of `deno task test:unit`.
 */

import { assert, assertEquals } from "@std/assert";
import { finished, ROOT } from "./process.ts";

/** A doc comment, as `deno doc --json` gives it. */
interface JsDoc {
  doc?: string;
  tags?: { kind: string; doc?: string }[];
}

/** An export: one declaration for each overload or namesake. */
interface ExportedSymbol {
  name: string;
  declarations: { kind: string; jsDoc?: JsDoc }[];
}

/** What `deno doc --json` says of one module. */
interface DocModule {
  module_doc?: JsDoc;
  symbols: ExportedSymbol[];
}

/** Exports whose example is marked `ignore`, each with the reason why it cannot run. */
const MAY_IGNORE: Readonly<Record<string, string>> = {};

/** Kinds of declarations that are values. */
const VALUES = ["function", "class", "variable"];

const RUNS = /^```(?:ts|typescript)[ \t]*$/m;
const IGNORED = /^```[^\n]*\bignore\b/m;

/** The modules of all entries of deno.json. */
async function documented(): Promise<DocModule[]> {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`));
  const entries = Object.values<string>(exports).map((path) => `${ROOT}/${path}`);
  const args = ["doc", "--json", ...entries];
  const env = { NO_COLOR: "1" };
  const { code, stdout, stderr } = await finished(
    new Deno.Command("deno", { args, env, stdin: "null", stdout: "piped", stderr: "piped" })
      .spawn(),
  );
  if (code !== 0) throw new Error(stderr);
  const modules = Object.values<DocModule>(JSON.parse(stdout).nodes);
  assertEquals(modules.length, entries.length, "one module for each entry");
  return modules;
}

/** What is wrong with the doc comments of a module. */
function problems({ module_doc, symbols }: DocModule): string[] {
  const found = symbols.flatMap(problemsOf);
  if (texts(module_doc).some((text) => IGNORED.test(text))) {
    found.push("the comment of a module: its example is ignored");
  }
  return found;
}

function problemsOf({ name, declarations }: ExportedSymbol): string[] {
  const ignored = texts(declarations).some((text) => IGNORED.test(text));
  if (ignored && !Object.hasOwn(MAY_IGNORE, name)) return [`${name}: its example is ignored`];
  const values = declarations.filter(({ kind }) => VALUES.includes(kind));
  if (values.length === 0) return [];
  if (!values.some(({ jsDoc }) => jsDoc?.doc?.trim())) return [`${name}: no doc comment`];
  const examples = values
    .flatMap(({ jsDoc }) => jsDoc?.tags ?? [])
    .filter(({ kind }) => kind === "example");
  if (examples.length === 0) return [`${name}: no @example`];
  if (ignored || examples.some(({ doc = "" }) => RUNS.test(doc))) return [];
  return [`${name}: its @example has no block of TypeScript`];
}

/** The texts of all comments in what `deno doc` says, those of members included. */
function texts(node: unknown): string[] {
  if (typeof node !== "object" || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) =>
    key === "doc" && typeof value === "string" ? [value] : texts(value)
  );
}

Deno.test("every function, class and constant of the API has an example that runs", async () => {
  const modules = await documented();
  assertEquals([...new Set(modules.flatMap(problems))].sort(), []);
  const names = new Set(modules.flatMap(({ symbols }) => symbols.map(({ name }) => name)));
  assertEquals(Object.keys(MAY_IGNORE).filter((name) => !names.has(name)), []);
});

Deno.test("the check finds what is missing", () => {
  const fenced = (mark: string) => `\`\`\`${mark}\nf();\n\`\`\``;
  const of = (jsDoc: JsDoc | undefined, kind = "function") =>
    problems({ symbols: [{ name: "f", declarations: [{ kind, jsDoc }] }] });
  const example = (text: string): JsDoc => ({
    doc: "Does it.\n",
    tags: [{ kind: "example", doc: text }],
  });
  assertEquals(of(example(fenced("ts"))), []);
  assertEquals(of(undefined), ["f: no doc comment"]);
  assertEquals(of({ tags: [{ kind: "example", doc: fenced("ts") }] }), ["f: no doc comment"]);
  assertEquals(of({ doc: "Does it." }), ["f: no @example"]);
  assertEquals(of(example("f()")), ["f: its @example has no block of TypeScript"]);
  assertEquals(of(example(fenced("sh"))), ["f: its @example has no block of TypeScript"]);
  assertEquals(of(example(fenced("ts ignore"))), ["f: its example is ignored"]);
  assertEquals(of({ doc: fenced("ts, ignore") }, "interface"), ["f: its example is ignored"]);
  assertEquals(of(undefined, "typeAlias"), []);
  const module_doc = { doc: fenced("ts ignore") };
  assert(problems({ module_doc, symbols: [] }).length === 1);
});
