/**
 * Sources by address: HTTP(S), the Hugging Face hub, S3-compatible storage; with a cache.
 *
 * @module
 */

import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { sha256Hex } from "../containers/sha256.ts";
import { baseName, type Folder } from "../dialects/folder.ts";
import { cached, cacheRoot } from "./cache.ts";
import { httpSource, type RemoteFile } from "./http.ts";
import type { SourceOptions } from "./settings.ts";

export type { SourceOptions } from "./settings.ts";

/**
 * What an address names: a file or a folder; undefined for a path of the file system.
 *
 * `https://HOST/FILE` (with `#sha256=HEX`, the hash that it must have), `hf://ORG/NAME@REVISION`,
 * `s3://BUCKET/KEY`.
 */
export async function openRemote(
  address: string,
  options: SourceOptions,
): Promise<ByteSource | Folder | undefined> {
  const [, scheme] = /^([a-z][a-z0-9+.-]+):\/\//i.exec(address) ?? [];
  if (scheme === undefined) return undefined;
  if (scheme === "hf") return await (await import("./hub.ts")).hubFolder(address, options);
  if (scheme === "s3") {
    const found = await (await import("./s3.ts")).s3Source(address, options);
    return "names" in found ? throughCache(found, options) : await keep(found, options);
  }
  if (scheme !== "http" && scheme !== "https") {
    throw new LowbitError("USAGE", `addresses of ${scheme}: cannot be opened`, {
      file: `${scheme}://`,
      advice: "known: https:, hf:, s3:, or a path",
    });
  }
  const sha256 = /#sha256=([0-9a-f]{64})$/i.exec(address)?.[1].toLowerCase();
  const file = await httpSource(address, { fetch: options.fetch });
  return await keep(
    file,
    { ...options, download: options.download || sha256 !== undefined },
    sha256,
  );
}

/** A folder whose files come through the cache. */
function throughCache(folder: Folder, options: SourceOptions): Folder {
  return { ...folder, open: async (name) => await keep(await folder.open(name), options) };
}

/** A file out of the cache, or as it is where there is no cache. */
async function keep(
  file: RemoteFile,
  options: SourceOptions,
  sha256?: string,
): Promise<ByteSource> {
  const root = options.download ? cacheRoot(options) : undefined;
  // Without a tag or a hash nothing says whether a cached file is still the same.
  const version = sha256 ?? file.etag;
  if (root === undefined || version === undefined) {
    if (sha256 === undefined) return file;
    throw new LowbitError("IO", "there is no cache in which its hash can be checked", {
      file: file.name,
      advice: "allow reading HOME, and writing to its .cache",
    });
  }
  const key = sha256Hex(new TextEncoder().encode(`${file.name}\n${version}`));
  return await cached(file, `${root}/lowbit/${key}/${baseName(file.name)}`, { sha256 });
}
