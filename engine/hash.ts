/**
 * Hashes of files, texts and JSON values.
 *
 * @module
 */

import { runningSha256, sha256Hex } from "../formats/containers/sha256.ts";
import type { ByteSource, FileHash } from "../spec/mod.ts";

const CHUNK = 1 << 22;

/** The SHA-256 of bytes, hexadecimal. */
export function hashBytes(bytes: Uint8Array): string {
  return sha256Hex(bytes);
}

/** The SHA-256 of a text in UTF-8, hexadecimal. */
function hashText(text: string): string {
  return hashBytes(new TextEncoder().encode(text));
}

/** The SHA-256 of a JSON value, with the keys of objects sorted. */
export function hashJson(value: unknown): string {
  return hashText(canonicalJson(value));
}

/** JSON with sorted keys and no spaces: equal values have equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_, item) =>
      item !== null && typeof item === "object" && !Array.isArray(item)
        ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0))
        : item,
  );
}

/** Name (without folders), size and hash of a source, read in pieces of 4 MiB. */
async function hashSource(source: ByteSource): Promise<FileHash> {
  const hash = runningSha256();
  for (let at = 0; at < source.size; at += CHUNK) {
    hash.update(await source.read(at, Math.min(CHUNK, source.size - at)));
  }
  const name = source.name.split(/[\\/]/).at(-1)!;
  return { name, bytes: source.size, sha256: hash.hex() };
}

/** Hashes of sources, in the order of their names; closes nothing. */
export async function hashSources(sources: readonly ByteSource[]): Promise<FileHash[]> {
  const hashes: FileHash[] = [];
  for (const source of sources) hashes.push(await hashSource(source));
  return hashes.sort((a, b) => a.name < b.name ? -1 : 1);
}
