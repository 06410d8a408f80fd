/**
 * The cache of remote files: whole files with checked sizes and hashes, complete or not there.
 *
 * @module
 */

import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { ioError } from "../containers/io.ts";
import { hex, runningSha256 } from "../containers/sha256.ts";
import { fileSource } from "../containers/source.ts";
import { environment, type SourceOptions } from "./settings.ts";

const PIECE = 4 << 20;

/** What a file must be. */
export interface Wanted {
  /** Its SHA-256, hexadecimal. */
  sha256?: string;
  /** Its id in git: the SHA-1 of a blob. */
  git?: string;
}

/** The folder of caches: `XDG_CACHE_HOME`, or `.cache` at home; undefined where neither is known. */
export function cacheRoot(options: SourceOptions): string | undefined {
  const stated = environment(options, "XDG_CACHE_HOME");
  if (stated) return stated;
  const home = environment(options, "HOME") ?? environment(options, "USERPROFILE");
  return home && `${home}/.cache`;
}

/**
 * The file at `path`, fetched from `remote` if it is not there. The first part of a transfer that
 * broke off is kept as `PATH.incomplete`, and the next call goes on behind it.
 *
 * Errors: those of the transfer, `MALFORMED` where the hash is another one, `IO`.
 */
export async function cached(
  remote: ByteSource,
  path: string,
  wanted: Wanted,
): Promise<ByteSource> {
  const there = await sizeOf(path);
  if (there !== remote.size) {
    try {
      await Deno.mkdir(path.replace(/[/\\][^/\\]*$/, ""), { recursive: true });
    } catch (error) {
      throw ioError(error, path, "write");
    }
    await fetchFile(remote, `${path}.incomplete`, wanted);
    try {
      await Deno.rename(`${path}.incomplete`, path);
    } catch (error) {
      throw ioError(error, path, "write");
    }
  }
  remote.close();
  return named(await fileSource(path), remote.name);
}

function named(source: ByteSource, name: string): ByteSource {
  return {
    name,
    size: source.size,
    read: (offset, length) => source.read(offset, length),
    close: () => source.close(),
  };
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await Deno.stat(path)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw ioError(error, path, "read");
  }
}

async function fetchFile(remote: ByteSource, part: string, wanted: Wanted): Promise<void> {
  const have = await sizeOf(part) ?? 0;
  let at = have > remote.size ? 0 : have;
  let file: Deno.FsFile;
  try {
    file = await Deno.open(part, { read: true, write: true, create: true });
    await file.truncate(at);
    await file.seek(at, Deno.SeekMode.Start);
  } catch (error) {
    throw ioError(error, part, "write");
  }
  try {
    while (at < remote.size) {
      const bytes = await remote.read(at, Math.min(PIECE, remote.size - at));
      for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
      at += bytes.length;
    }
    await file.sync();
  } catch (error) {
    throw error instanceof LowbitError ? error : ioError(error, part, "write");
  } finally {
    file.close();
  }
  const problem = await mismatch(part, wanted);
  if (!problem) return;
  await Deno.remove(part);
  throw new LowbitError("MALFORMED", problem, {
    file: remote.name,
    advice: "the copy was removed; run the command again",
  });
}

/** Why a file is not the one that is wanted. */
async function mismatch(path: string, { sha256, git }: Wanted): Promise<string | undefined> {
  if (sha256 === undefined && git === undefined) return undefined;
  const source = await fileSource(path);
  try {
    if (sha256 !== undefined) {
      const hash = runningSha256();
      for (let at = 0; at < source.size; at += PIECE) {
        hash.update(await source.read(at, Math.min(PIECE, source.size - at)));
      }
      const actual = hash.hex();
      return actual === sha256 ? undefined : `its SHA-256 is ${actual}, not ${sha256}`;
    }
    const head = new TextEncoder().encode(`blob ${source.size}\0`);
    const bytes = new Uint8Array(head.length + source.size);
    bytes.set(head);
    bytes.set(await source.read(0, source.size), head.length);
    const actual = hex(new Uint8Array(await crypto.subtle.digest("SHA-1", bytes)));
    return actual === git ? undefined : `its git id is ${actual}, not ${git}`;
  } finally {
    source.close();
  }
}
