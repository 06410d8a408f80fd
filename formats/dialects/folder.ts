/**
 * The folder of a checkpoint: on disk, or files that a browser was given.
 *
 * @module
 */

import { type ByteSource, LowbitError } from "../../spec/mod.ts";
import { ioError } from "../containers/io.ts";
import { byCodeUnits, parseJson, toPlain } from "../containers/json.ts";
import { fileSource } from "../containers/source.ts";

/** Files by plain names. */
export interface Folder {
  /** What the user called it. */
  readonly name: string;
  /** The names of its files, sorted. */
  readonly names: readonly string[];
  /** Opens a file. Errors: `NOT_FOUND`, `IO`, `MALFORMED` (the name leaves the folder). */
  open(name: string): Promise<ByteSource>;
}

/**
 * Refuses names that are not plain: separators, `..`, drive letters, control characters, percent signs
 * (which an address would decode).
 */
export function checkPlainName(name: string, file: string): void {
  // deno-lint-ignore no-control-regex
  if (/^[^/\\:%\u0000-\u001f]{1,255}$/.test(name) && name !== "." && name !== "..") return;
  throw new LowbitError("MALFORMED", `${JSON.stringify(name)} is not a file of its folder`, {
    file,
    advice: "names of shards must be plain file names",
  });
}

/**
 * A folder on disk. A link in it must stay inside; in the cache of the Hugging Face hub, where
 * every file is a link, it may lead to `blobs`.
 */
export async function diskFolder(path: string): Promise<Folder> {
  const names: string[] = [];
  let root: string;
  try {
    for await (const entry of Deno.readDir(path)) {
      if (!entry.isDirectory) names.push(entry.name);
      else if (entry.name === "onnx") {
        for await (const { name } of Deno.readDir(`${path}/onnx`)) names.push(`onnx/${name}`);
      }
    }
    root = await Deno.realPath(path);
  } catch (error) {
    throw ioError(error, path, "read");
  }
  names.sort(byCodeUnits);
  const separator = path.endsWith("/") ? "" : "/";
  const blobs = /^(.*)[/\\]snapshots[/\\][^/\\]+$/.exec(root)?.[1];
  return {
    name: path,
    names,
    async open(name) {
      checkPlainName(name.replace(/^onnx\//, ""), path);
      const file = `${path}${separator}${name}`;
      let real: string;
      try {
        real = await Deno.realPath(file);
      } catch (error) {
        throw ioError(error, file, "read");
      }
      const within = (folder: string) =>
        real.startsWith(folder + "/") || real.startsWith(folder + "\\");
      if (!within(root) && !(blobs !== undefined && within(`${blobs}/blobs`))) {
        throw new LowbitError("MALFORMED", "is a link that leads out of its folder", {
          file,
          advice: "replace the link by the file",
        });
      }
      return await fileSource(file);
    },
  };
}

/** The last part of a path or URL. */
export function baseName(name: string): string {
  return name.replace(/[?#].*$/, "").replace(/^.*[/\\]/, "");
}

/**
 * A folder of sources, by the last parts of their names. Closing what `open` returns leaves the
 * source itself open: that is up to its owner.
 */
export function sourceFolder(sources: readonly ByteSource[], name: string): Folder {
  const byName = new Map(sources.map((source): [string, ByteSource] => [
    baseName(source.name),
    {
      name: source.name,
      size: source.size,
      read: (offset, length) => source.read(offset, length),
      close() {},
    },
  ]));
  return {
    name,
    names: [...byName.keys()].sort(byCodeUnits),
    open(file) {
      const source = byName.get(file);
      if (source) return Promise.resolve(source);
      return Promise.reject(new LowbitError("NOT_FOUND", "no such file", { file }));
    },
  };
}

/** The largest JSON or text file that is read as a whole, in bytes. */
const MAX_TEXT = 256 * 2 ** 20;

/** The text of a file of the folder. Errors: `LIMIT`, `MALFORMED` (not UTF-8), and those of `open`. */
export async function readText(folder: Folder, name: string): Promise<string> {
  const source = await folder.open(name);
  try {
    if (source.size > MAX_TEXT) {
      throw new LowbitError("LIMIT", `has ${source.size} bytes, more than ${MAX_TEXT}`, {
        file: source.name,
      });
    }
    const bytes = await source.read(0, source.size);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new LowbitError("MALFORMED", "is not valid UTF-8", { file: source.name, cause });
    }
  } finally {
    source.close();
  }
}

/** The JSON object in a file of the folder, with plain objects inside. */
export async function readJsonObject(
  folder: Folder,
  name: string,
): Promise<Record<string, unknown>> {
  const file = `${folder.name}/${name}`;
  const value = parseJson(await readText(folder, name), { file });
  if (!(value instanceof Map)) throw new LowbitError("MALFORMED", "is not an object", { file });
  return toPlain(value) as Record<string, unknown>;
}
