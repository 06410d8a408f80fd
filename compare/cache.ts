/**
 * Finished entries on disk, by the hash of everything that they follow from: a comparison that was
 * stopped goes on where it was, and one with more recipes measures only these.
 *
 * @module
 */

import { hashJson } from "../engine/hash.ts";
import { VERSION } from "../engine/version.ts";
import { LowbitError } from "../spec/mod.ts";

/** Entries of what is measured here have this version; another one is measured again. */
const SHAPE = 2;

/** What is kept: JSON. */
export class EntryCache<T> {
  /** Keeps entries under `folder`; undefined keeps none. */
  constructor(readonly folder?: string) {}

  /** The key of what follows from `inputs`. */
  static key(inputs: unknown): string {
    return hashJson({ shape: SHAPE, lowbit: VERSION, inputs });
  }

  /** What is kept under a key; a file that is broken counts as none. */
  async get(key: string): Promise<T | undefined> {
    if (this.folder === undefined) return undefined;
    let text: string;
    try {
      text = await Deno.readTextFile(this.#path(key));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw this.#error(error);
    }
    try {
      const { key: written, value } = JSON.parse(text);
      return written === key ? value : undefined;
    } catch {
      return undefined;
    }
  }

  /** Keeps a value; it appears as a whole or not at all. */
  async set(key: string, value: T): Promise<void> {
    if (this.folder === undefined) return;
    const path = this.#path(key), partial = `${path}.partial-${crypto.randomUUID().slice(0, 8)}`;
    try {
      await Deno.mkdir(this.folder, { recursive: true });
      await Deno.writeTextFile(partial, JSON.stringify({ key, value }));
      await Deno.rename(partial, path);
    } catch (error) {
      await Deno.remove(partial).catch(() => {});
      throw this.#error(error);
    }
  }

  #path(key: string): string {
    return `${this.folder}/${key}.json`;
  }

  #error(cause: unknown): LowbitError {
    return new LowbitError("IO", (cause as Error).message, {
      file: this.folder,
      advice: "name a folder that can be written with --cache, or give --no-cache",
      cause,
    });
  }
}
