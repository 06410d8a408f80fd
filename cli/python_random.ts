/**
 * Samples as Python's `random.Random(seed).sample` draws them (MT19937), since lm-evaluation-harness
 * chooses its examples so: the same seed must give the same questions.
 *
 * @module
 */

const N = 624, M = 397;

/** The generator of Python, with integers below 2^32 as seeds. */
export class PythonRandom {
  readonly #state = new Uint32Array(N);
  #at = N;

  /** Seeds as `init_by_array([seed])` of MT19937 does. */
  constructor(seed: number) {
    const state = this.#state;
    state[0] = 19650218;
    for (let i = 1; i < N; i++) {
      const before = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = Math.imul(before, 1812433253) + i;
    }
    let i = 1;
    for (let k = 0; k < N; k++) {
      const before = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = (state[i] ^ Math.imul(before, 1664525)) + seed;
      if (++i >= N) i = this.#wrap();
    }
    for (let k = 0; k < N - 1; k++) {
      const before = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = (state[i] ^ Math.imul(before, 1566083941)) - i;
      if (++i >= N) i = this.#wrap();
    }
    state[0] = 0x80000000;
  }

  /** `count` different items, in the order in which they are drawn. */
  sample<T>(items: readonly T[], count: number): T[] {
    const n = items.length;
    if (count > n) throw new RangeError(`${count} of ${n} cannot be drawn`);
    // Python keeps a pool where that takes less memory than a set of what was drawn.
    const limit = 21 + (count > 5 ? 4 ** Math.ceil(Math.log(3 * count) / Math.log(4)) : 0);
    if (n <= limit) {
      const pool = [...items];
      return Array.from({ length: count }, (_, i) => {
        const j = this.#below(n - i), item = pool[j];
        pool[j] = pool[n - i - 1];
        return item;
      });
    }
    const drawn = new Set<number>();
    return Array.from({ length: count }, () => {
      let j = this.#below(n);
      while (drawn.has(j)) j = this.#below(n);
      drawn.add(j);
      return items[j];
    });
  }

  #wrap(): number {
    this.#state[0] = this.#state[N - 1];
    return 1;
  }

  #below(n: number): number {
    const bits = 32 - Math.clz32(n);
    let value = this.#next() >>> (32 - bits);
    while (value >= n) value = this.#next() >>> (32 - bits);
    return value;
  }

  #next(): number {
    const state = this.#state;
    if (this.#at >= N) {
      for (let i = 0; i < N; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
        state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.#at = 0;
    }
    let y = state[this.#at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }
}
