/**
 * Zip archives as random access to their members, read strictly: what `torch.save` and `numpy.savez`
 * write. Stored members are ranges of the archive; deflated ones are inflated when they are read.
 *
 * @module
 */

import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";

/** Limits of the reader. */
export const ZIP_LIMITS = {
  /** Members of an archive. */
  members: 1_000_000,
  /** Bytes of the directory. */
  directory: 256 * 2 ** 20,
  /** Bytes of a member once it is inflated. */
  inflated: 2 ** 31,
} as const;

/** A member of an archive. */
export interface ZipMember {
  /** Its name, with `/` between folders. */
  name: string;
  /** Its bytes; errors name the archive and the member. */
  source: ByteSource;
}

interface Entry {
  name: string;
  method: number;
  crc: number;
  packed: number;
  size: number;
  header: number;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function broken(problem: string, field?: string): LowbitError {
  return new LowbitError("MALFORMED", problem, { field });
}

/**
 * The members of an archive, in the order of its directory.
 *
 * Errors: `TRUNCATED`, `MALFORMED` (members that overlap, lie, or have one name), `LIMIT`,
 * `UNSUPPORTED` (encrypted, other compressions than deflate).
 */
export async function readZip(source: ByteSource): Promise<ZipMember[]> {
  try {
    return await read(source);
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  }
}

async function read(source: ByteSource): Promise<ZipMember[]> {
  const { count, size, offset } = await findDirectory(source);
  if (count > ZIP_LIMITS.members || size > ZIP_LIMITS.directory) {
    throw new LowbitError("LIMIT", `has ${count} members in a directory of ${size} bytes`);
  }
  if (offset + size > source.size || count * 46 > size) {
    throw broken(`its directory of ${count} members does not lie in its ${source.size} bytes`);
  }
  const entries = parseDirectory(await source.read(offset, size), count);
  const names = new Set<string>();
  const starts: [start: number, end: number, name: string][] = [];
  const members: ZipMember[] = [];
  for (const entry of entries) {
    if (names.has(entry.name)) throw broken("the member occurs twice", entry.name);
    names.add(entry.name);
    const start = await dataStart(source, entry, offset);
    starts.push([entry.header, start + entry.packed, entry.name]);
    members.push({ name: entry.name, source: memberSource(source, entry, start) });
  }
  starts.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < starts.length; i++) {
    if (starts[i - 1][1] > starts[i][0]) {
      throw broken(`the member overlaps ${starts[i - 1][2]}`, starts[i][2]);
    }
  }
  return members;
}

async function findDirectory(source: ByteSource) {
  const tail = Math.min(source.size, 22 + 65_535);
  const bytes = await source.read(source.size - tail, tail);
  const view = new DataView(bytes.buffer);
  let at = tail - 22;
  while (at >= 0 && !(view.getUint32(at, true) === 0x06054b50 && endsHere(view, at, tail))) at--;
  if (at < 0) {
    throw new LowbitError("TRUNCATED", "has no directory at its end, as a zip archive must", {
      advice: "copy or download the file again",
    });
  }
  let count = view.getUint16(at + 10, true);
  let size = view.getUint32(at + 12, true);
  let offset = view.getUint32(at + 16, true);
  const locator = at - 20;
  if (locator >= 0 && view.getUint32(locator, true) === 0x07064b50) {
    const place = whole(view, locator + 8, "the place of its directory");
    if (place + 56 > source.size) throw broken("the place of its directory is behind its end");
    const end = new DataView((await source.read(place, 56)).buffer);
    if (end.getUint32(0, true) !== 0x06064b50) throw broken("its 64-bit directory is not there");
    count = whole(end, 32, "the number of its members");
    size = whole(end, 40, "the size of its directory");
    offset = whole(end, 48, "the place of its directory");
  }
  return { count, size, offset };
}

/** Whether the comment that is declared at `at` fills the rest. */
function endsHere(view: DataView, at: number, tail: number): boolean {
  return at + 22 + view.getUint16(at + 20, true) === tail;
}

function whole(view: DataView, at: number, what: string): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new LowbitError("LIMIT", `${what} is ${value}, which is too large`);
  }
  return Number(value);
}

function parseDirectory(bytes: Uint8Array<ArrayBuffer>, count: number): Entry[] {
  const view = new DataView(bytes.buffer);
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== 0x02014b50) {
      throw broken(`the entry of its member ${i} is not in its directory`);
    }
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) =>
      view.getUint16(at + o, true)
    );
    const end = at + 46 + nameLength + extraLength + commentLength;
    if (end > bytes.length) throw broken(`the entry of its member ${i} is cut off`);
    let name: string;
    try {
      name = decoder.decode(bytes.subarray(at + 46, at + 46 + nameLength));
    } catch (cause) {
      throw new LowbitError("MALFORMED", `the name of its member ${i} is not UTF-8`, { cause });
    }
    const entry = {
      name,
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      header: view.getUint32(at + 42, true),
    };
    if (view.getUint16(at + 8, true) & 1) {
      throw new LowbitError("UNSUPPORTED", "is encrypted", { field: name });
    }
    if (entry.method !== 0 && entry.method !== 8) {
      throw new LowbitError("UNSUPPORTED", `is compressed by method ${entry.method}`, {
        field: name,
        advice: "write it stored or deflated",
      });
    }
    const extra = at + 46 + nameLength;
    widen(entry, view, extra, extra + extraLength);
    if (entry.method === 0 && entry.packed !== entry.size) {
      throw broken(`is stored, but has ${entry.packed} bytes for ${entry.size}`, name);
    }
    entries.push(entry);
    at = end;
  }
  return entries;
}

/** Takes the sizes that do not fit 32 bits from the extra field. */
function widen(entry: Entry, view: DataView, from: number, to: number): void {
  for (let at = from; at + 4 <= to;) {
    const [id, length] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    const end = at + 4 + length;
    if (end > to) throw broken("its extra field is cut off", entry.name);
    if (id === 1) {
      let field = at + 4;
      for (const key of ["size", "packed", "header"] as const) {
        if (entry[key] !== 0xffffffff) continue;
        if (field + 8 > end) throw broken("its 64-bit sizes are cut off", entry.name);
        entry[key] = whole(view, field, "its size");
        field += 8;
      }
    }
    at = end;
  }
}

/** The first byte of a member's data, behind its own header. */
async function dataStart(source: ByteSource, entry: Entry, limit: number): Promise<number> {
  const { name, header, packed } = entry;
  const fail = (problem: string) => broken(problem, name);
  if (header + 30 > limit) throw fail("its header lies behind the members");
  const bytes = await source.read(header, 30);
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) !== 0x04034b50) throw fail("its header is not where it should be");
  const start = header + 30 + view.getUint16(26, true) + view.getUint16(28, true);
  if (view.getUint16(8, true) !== entry.method || start + packed > limit) {
    throw fail("its header contradicts the directory");
  }
  return start;
}

function memberSource(archive: ByteSource, entry: Entry, start: number): ByteSource {
  const title = `${archive.name}/${entry.name}`;
  if (entry.method === 0) return partSource(archive, title, start, entry.size);
  let inflated: Promise<Uint8Array<ArrayBuffer>> | undefined;
  return {
    name: title,
    size: entry.size,
    async read(offset, length) {
      const bytes = await (inflated ??= inflate(archive, entry, start, title));
      if (offset < 0 || length < 0 || offset + length > bytes.length) {
        throw new LowbitError("TRUNCATED", `ends at byte ${bytes.length}`, { file: title });
      }
      return bytes.slice(offset, offset + length);
    },
    close() {},
  };
}

/** A range of a source as a source of its own. */
export function partSource(
  source: ByteSource,
  name: string,
  start: number,
  size: number,
): ByteSource {
  return {
    name,
    size,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > size) {
        throw new LowbitError(
          "TRUNCATED",
          `ends at byte ${size}, but bytes ${offset} to ${offset + length} are needed`,
          { file: name, advice: "copy or download the file again" },
        );
      }
      return await source.read(start + offset, length);
    },
    close() {},
  };
}

async function inflate(
  archive: ByteSource,
  { packed, size, crc }: Entry,
  start: number,
  file: string,
): Promise<Uint8Array<ArrayBuffer>> {
  // Deflate cannot do better than 1032 to 1, so a larger claim is a lie.
  if (size > ZIP_LIMITS.inflated || size > 1032 * packed + 1032) {
    throw new LowbitError("LIMIT", `claims ${size} bytes from ${packed} deflated ones`, { file });
  }
  const out = new Uint8Array(size);
  let done = 0;
  try {
    const bytes = await archive.read(start, packed);
    const whole = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        controller.enqueue(bytes);
        controller.close();
      },
    });
    const stream = whole.pipeThrough(new DecompressionStream("deflate-raw"));
    for await (const chunk of stream) {
      if (done + chunk.length > size) throw broken(`inflates to more than its ${size} bytes`);
      out.set(chunk, done);
      done += chunk.length;
    }
  } catch (cause) {
    if (cause instanceof LowbitError) throw cause.in(file);
    throw new LowbitError("MALFORMED", "its deflated data are damaged", { file, cause });
  }
  if (done !== size) {
    throw new LowbitError("TRUNCATED", `inflates to ${done} of its ${size} bytes`, { file });
  }
  if (crc32(out) !== crc) {
    throw new LowbitError("MALFORMED", "its checksum is wrong", {
      file,
      advice: "copy or download the file again",
    });
  }
  return out;
}

let table: Uint32Array | undefined;

/** The checksum of zip archives. */
export function crc32(bytes: Uint8Array): number {
  table ??= Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
