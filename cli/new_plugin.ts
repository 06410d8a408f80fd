/**
 * The files of a new plugin: a repository of its own, with a test, a README and a CI file.
 *
 * @module
 */

import { VERSION } from "../engine/version.ts";

/** The files of a plugin, by path; `link` is a checkout of lowbit to take in place of the registry. */
export function newPlugin(name: string, link?: string): Map<string, string> {
  const variable = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return new Map([
    ["deno.json", denoJson(name, link)],
    ["mod.ts", moduleText(name, variable)],
    ["mod_test.ts", testText(name, variable)],
    ["recipe.yaml", recipeText(name)],
    ["README.md", readmeText(name, link)],
    [".gitignore", "out/\n"],
    [".github/workflows/test.yml", CI],
  ]);
}

function denoJson(name: string, link?: string): string {
  const document = {
    name: `@you/${name}`,
    version: "0.1.0",
    license: "MIT",
    exports: "./mod.ts",
    imports: {
      "@lowbit/lowbit": `jsr:@lowbit/lowbit@^${VERSION}`,
      zod: "npm:zod@^4",
    },
    ...link !== undefined && { links: [link] },
    fmt: { lineWidth: 100 },
    unstable: ["worker-options"],
    tasks: {
      test: "deno test",
      lowbit: "deno run --allow-read --allow-write @lowbit/lowbit/cli",
    },
  };
  return JSON.stringify(document, null, 2) + "\n";
}

const moduleText = (name: string, variable: string) =>
  `/** ${name}: what it does, in a sentence. */

import { definePlugin, type Plugin, PLUGIN_API_VERSION, schema } from "@lowbit/lowbit/plugin";
import { z } from "zod";

/** Options of {@linkcode ${variable}}. */
export interface Options {
  /** The share of each range that is kept. */
  keep: number;
}

/** Rounds to nearest in ranges that are a little smaller than the whole ones. */
export const ${variable}: Plugin<Options> = definePlugin({
  meta: {
    name: ${JSON.stringify(name)},
    version: "0.1.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "round to nearest in smaller ranges",
    needs: { statistics: [] },
    supports: { families: ["int"], granularities: ["group"] },
    error: { of: "weights", factor: 20 },
    determinism: "exact",
  },
  options: schema(
    "options of ${name}",
    z.strictObject({
      keep: z.number().min(0.5).max(1).default(0.98).describe("share of each range that is kept"),
    }),
  ),
  quantize({ context: { kernels, options }, linear: { rows, columns }, weight, codec }) {
    const tiling = codec.tiling(rows, columns);
    using x = kernels.upload(weight);
    codec.parameters(x, tiling); // refuses NaN
    const parameters = codec.fit(codec.ranges(x, tiling), options.keep);
    using codes = codec.encode(x, tiling, parameters);
    return { shape: [rows, columns], scheme: codec.scheme, codes: codes.array.slice(), parameters };
  },
});
`;

const testText = (name: string, variable: string) =>
  `import { testPlugin } from "@lowbit/lowbit/testing";
import { ${variable} } from "./mod.ts";

Deno.test("${name} holds the contract of plugins", async () => {
  await testPlugin(${variable});
});

Deno.test("${name}: half of a range is the least that is kept", () => {
  if (${variable}.options.parse({}).keep !== 0.98) throw new Error("not the default");
  try {
    ${variable}.options.parse({ keep: 0.4 });
  } catch {
    return;
  }
  throw new Error("0.4 is taken");
});
`;

const recipeText = (name: string) =>
  `name: ${name}-w4g64
summary: 4 bits in groups of 64, by ${name}
assign:
  - select: ["blocks.*"]
    weight: int4_g64_asym
pipeline:
  - use: ${name}
`;

const readmeText = (name: string, link?: string) =>
  `# ${name}

A plugin for [lowbit](https://jsr.io/@lowbit/lowbit).

\`\`\`sh
deno task test                # the contract of plugins, and tests of your own
deno task lowbit plugins test ./mod.ts
deno task lowbit quantize embedded out --recipe recipe.yaml --plugin ./mod.ts
\`\`\`

\`mod.ts\` is the plugin, \`recipe.yaml\` runs it. Options, hooks and what the test kit checks are
written down in \`docs/plugins.md\` of lowbit.
${
    link === undefined ? "" : `
\`links\` in deno.json takes lowbit from a folder of this machine; remove it to take the registry's.
`
  }`;

const CI = `name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: denoland/setup-deno@v2
        with:
          deno-version: v2.x
      - run: deno fmt --check
      - run: deno lint
      - run: deno check .
      - run: deno task test
`;
