/**
 * A sample of rows that depends on their contents alone: neither on their order nor on batches.
 *
 * @module
 */

import type { Buffer, Statistic } from "../../spec/mod.ts";

/** A row and its place in the order of the sample. */
interface Row {
  hash: number;
  values: Float32Array;
}

/**
 * The `count` rows whose hashes are least, as `[rows, columns]` in that order. Equal rows count once.
 */
export class RowSample implements Statistic<Float32Array> {
  readonly #count: number;
  #rows: Row[] = [];

  /** A sample of at most `count` rows. */
  constructor(count: number) {
    this.#count = count;
  }

  /** Takes rows of `columns` values. */
  add(x: Buffer<"f32">, rows: number, columns: number): void {
    const array = x.array;
    const bits = new Uint32Array(array.buffer, array.byteOffset, array.length);
    for (let row = 0; row < rows; row++) {
      const [start, end] = [row * columns, (row + 1) * columns];
      const hash = hashOf(bits.subarray(start, end));
      const last = this.#rows.length < this.#count ? Infinity : this.#rows.at(-1)!.hash;
      if (hash < last) this.#take({ hash, values: array.slice(start, end) });
    }
  }

  /** Takes the rows of another sample. */
  merge(other: Statistic<Float32Array>): void {
    if (!(other instanceof RowSample)) throw new TypeError("another kind of statistic");
    for (const row of other.#rows) this.#take(row);
  }

  /** The rows. */
  value(): Float32Array {
    const columns = this.#rows[0]?.values.length ?? 0;
    const result = new Float32Array(this.#rows.length * columns);
    this.#rows.forEach(({ values }, i) => result.set(values, i * columns));
    return result;
  }

  #take(row: Row): void {
    let at = this.#rows.length;
    while (at > 0 && this.#rows[at - 1].hash > row.hash) at--;
    if (at > 0 && this.#rows[at - 1].hash === row.hash) return;
    this.#rows.splice(at, 0, row);
    if (this.#rows.length > this.#count) this.#rows.pop();
  }
}

/** FNV-1a over words, with a last mix so that low and high bits count alike. */
function hashOf(words: Uint32Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ words[i], 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
