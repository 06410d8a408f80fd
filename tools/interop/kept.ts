/**
 * Cases that are done, kept in a file, so that a check that is interrupted goes on.
 *
 * @module
 */

import type { CaseResult } from "./report.ts";

/** A case that is done. */
interface Entry {
  /** Model, windows, and what the case is. */
  key: string;
  /** What it gave. */
  result: CaseResult;
  /** The programs so far. */
  versions: Record<string, string>;
}

/** The cases that are done. */
export class Kept {
  constructor(private readonly entries: Entry[], private readonly path?: string) {}

  /** Those of a file; without one, they are kept in memory alone. */
  static async open(path: string | undefined): Promise<Kept> {
    if (path === undefined) return new Kept([]);
    try {
      const lines = (await Deno.readTextFile(path)).split("\n").filter((line) => line !== "");
      return new Kept(lines.map((line) => JSON.parse(line)), path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return new Kept([], path);
      throw error;
    }
  }

  find(key: string): Entry | undefined {
    return this.entries.findLast((entry) => entry.key === key);
  }

  async add(entry: Entry): Promise<void> {
    this.entries.push(entry);
    if (this.path === undefined) return;
    await Deno.writeTextFile(this.path, JSON.stringify(entry) + "\n", { append: true });
  }
}
