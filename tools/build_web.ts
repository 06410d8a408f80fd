/**
 * Builds the page into a folder that any host of files serves.
 *
 * ```sh
 * deno run --allow-read --allow-write --allow-run=deno --allow-env tools/build_web.ts [FOLDER]
 * ```
 *
 * @module
 */

import { parse } from "@std/yaml";
import { HEADERS } from "../web/headers.ts";
import { readMethods } from "./methods.ts";
import { qualityRows } from "./quality/read.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Builds the page into a folder. */
export async function buildWeb(folder: string): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  for (const name of ["data", "embedded/model"]) {
    await Deno.mkdir(`${folder}/${name}`, { recursive: true });
  }
  await bundle("web/main.ts", `${folder}/main.js`);
  await bundle("web/worker/mod.ts", `${folder}/worker.js`);
  for (const name of ["index.html", "style.css", "icon.svg"]) {
    await Deno.copyFile(`${ROOT}web/${name}`, `${folder}/${name}`);
  }
  for (const name of ["calibration.txt", "evaluation.txt"]) {
    await Deno.copyFile(`${ROOT}embedded/${name}`, `${folder}/embedded/${name}`);
  }
  for (const { name } of Deno.readDirSync(`${ROOT}embedded/model`)) {
    if (name === "README.md") continue;
    await Deno.copyFile(`${ROOT}embedded/model/${name}`, `${folder}/embedded/model/${name}`);
  }
  await json(`${folder}/data/formats.json`, formatTexts());
  await json(`${folder}/data/methods.json`, readMethods(ROOT));
  await json(`${folder}/data/quality.json`, qualityRows(ROOT));
  // As Netlify, Cloudflare Pages and others read it; hosts that do not are served on one thread.
  const lines = Object.entries(HEADERS).map(([name, value]) => `  ${name}: ${value}`);
  await Deno.writeTextFile(`${folder}/_headers`, `/*\n${lines.join("\n")}\n`);
}

/** The YAML of what the explorer can draw, by kind and id: number formats of 8 bits, schemes, vectors. */
function formatTexts(): Record<string, Record<string, string>> {
  const texts = (folder: string) =>
    Object.fromEntries(
      yamlFiles(folder).map((name) =>
        [name.replace(/\.yaml$/, ""), Deno.readTextFileSync(`${ROOT}${folder}/${name}`)] as const
      ),
    );
  const numbers = Object.entries(texts("formats/numbers"))
    .filter(([, text]) => (parse(text) as { bits: number }).bits <= 8);
  return {
    numbers: Object.fromEntries(numbers),
    schemes: texts("formats/schemes"),
    vectors: texts("formats/vectors"),
  };
}

function yamlFiles(folder: string): string[] {
  return [...Deno.readDirSync(ROOT + folder)].map(({ name }) => name)
    .filter((name) => name.endsWith(".yaml")).sort();
}

async function json(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, JSON.stringify(value));
}

/**
 * Bundles a program. Not minified: the minifier of `deno bundle` (2.9) moves the value of a `using`
 * that is read once into the next declaration, and it is never disposed of.
 */
async function bundle(entry: string, path: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("deno", {
    args: ["bundle", "--quiet", "--platform", "browser", "-o", path, ROOT + entry],
    cwd: ROOT,
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  // Comments of packages name types that are not beside the bundle.
  await Deno.writeTextFile(path, `// @ts-nocheck\n${await Deno.readTextFile(path)}`);
}

if (import.meta.main) await buildWeb(Deno.args[0] ?? `${ROOT}web/dist`);
