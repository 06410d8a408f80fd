/** The rules of the house: who imports whom, how large files are, what must agree with what. */

import { assert, assertEquals } from "@std/assert";
import { VERSION } from "../engine/version.ts";
import { PLUGINS } from "../plugins/mod.ts";
import { generateCatalogs } from "../tools/catalog.ts";
import { ROOT } from "./process.ts";
import { allFiles, allImports, findCycle, isTest, read } from "./source_tree.ts";

const files = allFiles();
const imports = allImports();

/** What the modules of a folder may import, by the start of the path. A plugin is a folder too. */
const LAYERS: Record<string, readonly string[]> = {
  std: [],
  spec: [],
  embedded: [],
  formats: ["spec/"],
  "kernels-wasm": ["spec/"],
  "kernels-webgpu": ["spec/"],
  autodiff: ["spec/"],
  models: ["spec/"],
  recipes: ["spec/"],
  plugins: ["spec/", "plugins/_math/"],
  engine: ["spec/", "formats/", "models/"],
};

/** Folders of what puts everything together; they import what they like, and only they do. */
const OUTER = ["cli", "sandbox", "testing", "tests", "tools", "bench", "examples", "web", "docs"]
  .concat(["compare", "report"]);
/** Modules at the top that put everything together. */
const ROOTS = ["mod.ts", "cli.ts", "workbench.ts", "workbench_options.ts"];

/** The unit that a module belongs to: its top folder, or the folder of the plugin. */
function unitOf(path: string): string {
  const [top, hook, name] = path.split("/");
  return top === "plugins" && name ? `plugins/${hook}/${name}/` : `${top}/`;
}

Deno.test("imports go in one direction", () => {
  const wrong = imports.filter(({ from, to, own }) => {
    const top = from.split("/")[0];
    if (!own || isTest(from) || OUTER.includes(top)) return false;
    if (ROOTS.includes(from)) return OUTER.slice(1).includes(to.split("/")[0]);
    if (from === "plugins/mod.ts") return !/^(spec|plugins)\//.test(to);
    assert(top in LAYERS, `${from} is in no layer`);
    return ![unitOf(from), ...LAYERS[top]].some((start) => to.startsWith(start));
  });
  assertEquals(wrong, []);
});

Deno.test("nothing imports a test, and only tests import what is beside them", () => {
  const wrong = imports.filter(({ from, to, own }) =>
    own && (isTest(to) || (to.startsWith("tests/") && !from.startsWith("tests/") && !isTest(from)))
  );
  assertEquals(wrong, []);
});

Deno.test("no module imports itself over others, types included", () => {
  assertEquals(findCycle(imports.filter(({ from }) => !isTest(from))), undefined);
});

Deno.test("every imported module is there", () => {
  const missing = imports.filter(({ to, own }) => own && !files.includes(to));
  assertEquals(missing.filter(({ to }) => !to.startsWith("kernels-wasm/lib/")), []);
});

/** Third-party packages, and the modules that may see them. Everyone else goes through these. */
const PACKAGES: Record<string, RegExp> = {
  // Its own public names, for projects that are not of this tree.
  "@lowbit/lowbit": /^examples\/plugins\//,
  "@lowbit/lowbit/plugin": /^examples\/plugins\/|^cli\/new_plugin\.ts$|^tests\/sandbox_test\.ts$/,
  "@lowbit/lowbit/testing": /^examples\/plugins\/|^cli\/new_plugin\.ts$/,
  zod:
    /^cli\/new_plugin\.ts$|^spec\/|^web\/methods\.ts$|^sandbox\/worker\.ts$|^examples\/plugins\/|^tests\/plugin_frame\.ts$|^plugins\/[a-z]+\/[a-z0-9-]+\/mod\.ts$|^tests\/engine_bench\.ts$|_test\.ts$/,
  "@huggingface/tokenizers": /^models\/tokenizer\.ts$/,
  "@huggingface/jinja": /^models\/chat_template\.ts$/,
  hyparquet: /^formats\/containers\/parquet\.ts$/,
  "hyparquet-compressors": /^formats\/containers\/parquet\.ts$/,
  "@noble/hashes/sha2.js": /^formats\/containers\/sha256\.ts$/,
  "@huggingface/hub": /^formats\/sources\/hub\.ts$/,
  aws4fetch: /^formats\/sources\/s3\.ts$/,
  "@jax-js/jax": /^autodiff\/mod\.ts$/,
  highs: /^engine\/integer_program\.ts$/,
  "cli-progress": /^cli\/progress\.ts$/,
  "cli-table3": /^cli\/table\.ts$/,
  bullmq: /^cli\/queue\.ts$/,
  ioredis: /^cli\/queue\.ts$/,
  "@observablehq/plot": /^report\/page\/charts\.ts$/,
  "@std/cli": /^cli\/|^examples\/|^tools\/|^bench\//,
  "@std/yaml": /^formats\/yaml\.ts$|^workbench\.ts$|^cli\/|^tools\/|_test\.ts$/,
  "@std/assert": /_test\.ts$|^tests\/|testing\.ts$|_fixtures\.ts$|_cases\.ts$/,
  "fast-check": /_test\.ts$/,
  "npm:deno-std@1.4.0/assert/mod.js": /^std\/assert\.ts$/,
  "npm:deno-std@1.4.0/cli/parse_args.js": /^std\/cli\.ts$/,
  "npm:deno-std@1.4.0/yaml/mod.js": /^std\/yaml\.ts$/,
  "npm:playwright-core@1.65.1": /^tests\/browser\/playwright\.ts$/,
};

Deno.test("every package is seen by the modules of its own and no others", () => {
  const wrong = imports.filter(({ from, to, own }) =>
    !own && !to.startsWith("node:") && !PACKAGES[to]?.test(from)
  );
  assertEquals(wrong, []);
});

Deno.test("modules of Node are used in few places", () => {
  const users = imports.filter(({ from, to }) => to.startsWith("node:") && !isTest(from));
  const allowed =
    /^(cli\/(progress|quantize|eval_more)|kernels-wasm\/(pool|worker_source|instance)|sandbox\/(mod|worker)|(bench|tools)\/.*)\.ts$/;
  assertEquals(users.filter(({ from }) => !allowed.test(from)), []);
});

/** What tools write. */
const MAY_BE_LONG =
  /(^|\/)catalog\.ts$|^kernels-wasm\/lib\/|^report\/lib\/|^CHANGELOG\.md$|^embedded\/|^tests\/golden\/|^docs\/generated\//;

Deno.test("files have fewer than 400 lines", () => {
  const long = files
    .filter((path) => /\.(ts|rs|py|md|yaml|sh)$/.test(path) && !MAY_BE_LONG.test(path))
    .map((path) => [path, read(path).split("\n").length - 1] as const)
    .filter(([, lines]) => lines >= 400);
  assertEquals(long, []);
});

Deno.test("every plugin has a folder with its name, and every folder is in the list", () => {
  const folders = files
    .filter((path) => /^plugins\/[^_/][^/]*\/[^/]+\//.test(path))
    .map((path) => path.split("/").slice(0, 3).join("/"));
  const unique = [...new Set(folders)];
  for (const folder of unique) {
    for (const name of ["mod.ts", "mod_test.ts"]) {
      assert(files.includes(`${folder}/${name}`), `${folder}/${name} is missing`);
    }
  }
  const listed = PLUGINS.map(({ meta }) => meta.name);
  assertEquals(unique.map((folder) => folder.split("/")[2]).sort(), [...listed].sort());
  for (const plugin of PLUGINS) {
    const { name } = plugin.meta;
    const hook = unique.find((folder) => folder.endsWith(`/${name}`))!.split("/")[1];
    // `transform` has two hooks: of blocks, and of the whole model.
    const hooks = Object.keys(plugin).filter((key) => key.startsWith(hook));
    assert(hooks.length > 0, `${name} lies under ${hook}, but has no such hook`);
    assert(plugin.meta.paper || hook === "evaluate", `${name} names no paper`);
  }
});

Deno.test("options of plugins have a default and a description on every leaf", () => {
  for (const { meta, options } of PLUGINS) {
    options.parse({});
    const { properties = {}, additionalProperties } = options.jsonSchema() as {
      properties?: Record<string, { default?: unknown; description?: string }>;
      additionalProperties?: unknown;
    };
    assertEquals(additionalProperties, false, `${meta.name} takes unknown options`);
    for (const [key, leaf] of Object.entries(properties)) {
      assert(leaf.default !== undefined && leaf.description, `${meta.name}.${key}`);
    }
  }
});

Deno.test("the version is that of deno.json", () => {
  const config = JSON.parse(read("deno.json"));
  assertEquals(VERSION, config.version);
  for (const [name, task] of Object.entries<{ description?: string }>(config.tasks)) {
    assert(task.description, `the task ${name} has no description`);
  }
});

Deno.test("the catalogs are what the YAML files say", async () => {
  assertEquals(await generateCatalogs(ROOT, true), [], "run `deno task catalog`");
});

Deno.test("no path of a machine and no host of a registry is checked in", () => {
  // Taken apart, so that this file does not find itself.
  const places = [
    "/ro" + "ot/",
    "/ho" + "me/[a-z]",
    "/Us" + "ers/[a-z]",
    "/wo" + "rk/",
    "[A-Z]:\\\\\\\\?Us" + "ers",
  ];
  const hosts = [
    "(registry|artifactory|nexus|mirror|proxy)[.-][a-z]",
    "[a-z0-9.-]+\\.(internal|local)\\b",
  ];
  const forbidden = new RegExp(`(?<![\\w.}])(${places.join("|")})|https?://(${hosts.join("|")})`);
  const text = /\.(ts|js|json|jsonc|md|yaml|yml|rs|toml|lock|py|sh|txt|html|css)$|(^|\/)run$/;
  const wrong = files
    .filter((path) => text.test(path) && !/^embedded\/.*\.(txt|json)$/.test(path))
    .flatMap((path) =>
      read(path).split("\n").flatMap((line, i) =>
        forbidden.test(line) ? [`${path}:${i + 1}: ${line.slice(0, 120)}`] : []
      )
    );
  assertEquals(wrong, []);
});

Deno.test("golden values name the implementation that made them, with its version", () => {
  const version = /\d+\.\d+/;
  const documents = files.filter((path) => /^tests\/golden\/.*\.json$/.test(path))
    .filter((path) =>
      !/(^|\/)((adapter_)?config|tokenizer\w*|.*\.index|ndarray-cache|mlc-\S+)\.json$/.test(path)
    );
  assert(documents.length >= 3);
  for (const path of documents) {
    const document = JSON.parse(read(path));
    const made = document.made_by ?? document.versions;
    // Or every entry says it for itself.
    const each = made === undefined ? Object.values<{ version?: string }>(document) : [];
    assert(
      made === undefined
        ? each.length > 0 && each.every((entry) => version.test(entry.version ?? ""))
        : version.test(JSON.stringify(made)),
      `${path} does not say who made it`,
    );
  }
});
