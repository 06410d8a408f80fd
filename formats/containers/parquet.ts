/**
 * Parquet files as rows. The one module that sees the parquet library.
 *
 * @module
 */

import type { FileMetaData } from "hyparquet";
import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";

/** The most bytes of metadata, and of one row group once it is decompressed. */
const LIMITS = { metadata: 2 ** 26, group: 2 ** 30 };

/** A parquet file of which only the metadata has been read. */
export interface Parquet {
  /** The names of the columns. */
  readonly columns: readonly string[];
  /** How many rows there are. */
  readonly rows: number;
  /** The values of a column, row group by row group. */
  column(name: string): AsyncGenerator<unknown[], void, void>;
}

/**
 * Opens a parquet file. Errors: `MALFORMED`; `LIMIT` for metadata or a row group that is too large.
 *
 * @example
 * ```ts
 * import { assertRejects } from "@std/assert";
 * import { memorySource } from "./source.ts";
 * import { openParquet } from "./parquet.ts";
 * const source = memorySource("a.parquet", new Uint8Array(20));
 * await assertRejects(() => openParquet(source), Error, "a.parquet: is no parquet file");
 * ```
 */
export async function openParquet(source: ByteSource): Promise<Parquet> {
  const file = {
    byteLength: source.size,
    async slice(start: number, end = source.size) {
      return (await source.read(start, end - start)).buffer;
    },
  };
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof LowbitError) throw error;
      throw malformed(source, `cannot be read: ${(error as Error).message}`, error);
    }
  };
  await checkEnds(source);
  // Few runs read parquet, so the others do not load its library.
  const { parquetMetadataAsync, parquetReadObjects } = await import("hyparquet");
  const { compressors } = await import("hyparquet-compressors");
  const metadata = await guard(() => parquetMetadataAsync(file));
  return {
    columns: topColumns(metadata),
    rows: Number(metadata.num_rows),
    async *column(name) {
      let rowStart = 0;
      for (const group of metadata.row_groups) {
        const size = group.columns
          .filter(({ meta_data }) => meta_data?.path_in_schema[0] === name)
          .reduce((sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0), 0);
        if (size > LIMITS.group) {
          throw new LowbitError("LIMIT", `a row group of ${name} has ${size} bytes`, {
            file: source.name,
          });
        }
        const rowEnd = rowStart + Number(group.num_rows);
        const rows = await guard(() =>
          parquetReadObjects({ file, metadata, columns: [name], rowStart, rowEnd, compressors })
        );
        rowStart = rowEnd;
        yield rows.map((row) => row[name]);
      }
    },
  };
}

/** The columns right below the root; what is nested in one of them belongs to it. */
function topColumns({ schema }: FileMetaData): string[] {
  const names: string[] = [];
  const skip = (at: number): number => {
    let next = at + 1;
    for (let i = 0; i < (schema[at]?.num_children ?? 0); i++) next = skip(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = skip(at)) names.push(schema[at].name);
  return names;
}

/** Refuses what is no parquet file, and metadata that does not fit the file, before the library. */
async function checkEnds(source: ByteSource): Promise<void> {
  const magic = (bytes: Uint8Array) => String.fromCharCode(...bytes) === "PAR1";
  if (source.size < 12 || !magic(await source.read(0, 4))) {
    throw malformed(source, "is no parquet file");
  }
  const end = await source.read(source.size - 8, 8);
  if (!magic(end.subarray(4))) throw malformed(source, "ends without the mark of parquet files");
  const length = new DataView(end.buffer).getUint32(0, true);
  if (length > LIMITS.metadata) {
    throw new LowbitError("LIMIT", `has ${length} bytes of metadata`, { file: source.name });
  }
  if (length > source.size - 12) {
    throw malformed(source, "declares more metadata than it has bytes");
  }
}

function malformed(source: ByteSource, problem: string, cause?: unknown): LowbitError {
  return new LowbitError("MALFORMED", problem, { file: source.name, cause });
}
