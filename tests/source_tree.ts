/**
 * The source files of the repository and what they import, for the tests of its rules.
 *
 * @module
 */

import { ROOT } from "./process.ts";

/** Folders that hold what tools made or fetched, and nothing that is checked in. */
const SKIPPED = [
  ".git",
  "node_modules",
  "target",
  "out",
  "dist",
  ".cache",
  "coverage",
  "__pycache__",
];

/** The paths of all files, relative to the repository, sorted. */
export function allFiles(): string[] {
  const files: string[] = [];
  const walk = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(`${ROOT}/${folder}`)) {
      const path = folder ? `${folder}/${name}` : name;
      if (!isDirectory) files.push(path);
      else if (!SKIPPED.includes(name) && path !== "tools/embedded/build") walk(path);
    }
  };
  walk("");
  return files.sort();
}

/** The text of a file. */
export function read(path: string): string {
  return Deno.readTextFileSync(`${ROOT}/${path}`);
}

/** Whether a module is a test, which may import anything and which nothing may import. */
export const isTest = (path: string): boolean => path.endsWith("_test.ts");

/** One import, export-from or dynamic import. */
export interface Import {
  /** The module that imports. */
  from: string;
  /** The module that is imported: a path in the repository, or a package as it is written. */
  to: string;
  /** Whether it is a module of the repository. */
  own: boolean;
}

const STATEMENT =
  /^(?:import|export)\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|(?:\w+\s*,?\s*)?(?:\{[^}]*\})?)\s+from\s+"([^"]+)"/gm;
const BARE = /^import\s+"([^"]+)"/gm;
const DYNAMIC = /^(?!\s*(?:\*|\/\/)).*\bimport\("([^"/][^"]*)"\)/gm;

/** Every import of the TypeScript modules, types included; not those in examples of comments. */
export function allImports(): Import[] {
  const imports: Import[] = [];
  for (const from of allFiles().filter((path) => /(?<!\.d)\.ts$/.test(path))) {
    const source = read(from).replace(/^\s*\/\*\*[\s\S]*?\*\//gm, "");
    for (const [, to] of [STATEMENT, BARE, DYNAMIC].flatMap((p) => [...source.matchAll(p)])) {
      const own = to.startsWith(".");
      imports.push({ from, own, to: own ? resolve(from, to) : to });
    }
  }
  return imports;
}

function resolve(from: string, to: string): string {
  return new URL(to, `file:///${from}`).pathname.slice(1);
}

/** A cycle of modules that import each other, types included; undefined if there is none. */
export function findCycle(imports: readonly Import[]): string[] | undefined {
  const edges = Map.groupBy(imports.filter(({ own }) => own), ({ from }) => from);
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (module: string): string[] | undefined => {
    if (path.includes(module)) return [...path.slice(path.indexOf(module)), module];
    if (done.has(module)) return undefined;
    path.push(module);
    for (const { to } of edges.get(module) ?? []) {
      const cycle = visit(to);
      if (cycle) return cycle;
    }
    path.pop();
    done.add(module);
    return undefined;
  };
  for (const module of edges.keys()) {
    const cycle = visit(module);
    if (cycle) return cycle;
  }
  return undefined;
}
