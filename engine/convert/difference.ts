/**
 * How much two tensors differ, value for value.
 *
 * @module
 */

/** The error that a conversion adds to a tensor. */
export interface AddedError {
  /** Values compared. */
  values: number;
  /** Values that differ. */
  different: number;
  /** The largest difference. */
  max: number;
  /** The mean difference. */
  mean: number;
  /** The root of the summed squares of differences, over that of the values. */
  relative: number;
}

/** Adds up differences, part after part. NaN equals NaN, and 0 equals -0. */
export class Difference {
  #values = 0;
  #different = 0;
  #max = 0;
  #sum = 0;
  #squares = 0;
  #norm = 0;

  /** Compares two parts of equal length. */
  add(before: Float32Array, after: Float32Array): void {
    if (before.length !== after.length) throw new RangeError("parts of different length");
    this.#values += before.length;
    for (let i = 0; i < before.length; i++) {
      const a = before[i], b = after[i];
      this.#norm += a * a;
      if (a === b || (a !== a && b !== b)) continue;
      const d = Math.abs(a - b);
      this.#different++;
      this.#max = Math.max(this.#max, d);
      this.#sum += d;
      this.#squares += d * d;
    }
  }

  /** The figures so far. */
  get error(): AddedError {
    const ratio = Math.sqrt(this.#squares / this.#norm);
    return {
      values: this.#values,
      different: this.#different,
      max: this.#max,
      mean: this.#values === 0 ? 0 : this.#sum / this.#values,
      relative: this.#different === 0 ? 0 : ratio,
    };
  }
}
