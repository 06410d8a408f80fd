/**
 * A k-d tree over the entries of a table (Friedman, Bentley and Finkel 1977): the nearest entry
 * without trying all of them, exactly.
 *
 * @module
 */

/** Entries of a leaf. */
const LEAF = 8;
/** Room for the rounding of a bound, so that no entry is left out that could be as near. */
const ROUNDING = 1 + 1e-12;

/** The tree. A query leaves its answer in `index` and `distance`. */
export class EntryTree {
  /** The number of the nearest entry; of equal ones the first. */
  index = 0;
  /** Its squared distance. */
  distance = Infinity;
  readonly #dimension: number;
  readonly #order: Uint32Array;
  /** The entries in the order of the leaves. */
  readonly #sorted: Float64Array;
  readonly #axes: Uint8Array;
  readonly #splits: Float64Array;
  /** How far the point is from the region of a node, along each axis. */
  readonly #offsets: Float64Array;
  #point: Float64Array = new Float64Array(0);
  #weight: Float64Array = new Float64Array(0);

  /** Builds the tree of a table `[entries, dimension]`. */
  constructor(table: Float64Array, dimension: number) {
    const count = table.length / dimension;
    this.#dimension = dimension;
    this.#order = Uint32Array.from({ length: count }, (_, i) => i);
    const nodes = 2 ** (Math.ceil(Math.log2(Math.max(1, count / LEAF))) + 1);
    this.#axes = new Uint8Array(nodes);
    this.#splits = new Float64Array(nodes);
    this.#offsets = new Float64Array(dimension);
    this.#build(table, 1, 0, count);
    this.#sorted = new Float64Array(table.length);
    this.#order.forEach((entry, i) => {
      const from = entry * dimension;
      this.#sorted.set(table.subarray(from, from + dimension), i * dimension);
    });
  }

  /** Looks for an entry nearer than `distance`, that of the entry `index`. */
  query(point: Float64Array, weight: Float64Array, index: number, distance: number): void {
    this.#point = point;
    this.#weight = weight;
    this.index = index;
    this.distance = distance;
    this.#search(1, 0, this.#order.length, 0);
  }

  #build(table: Float64Array, node: number, lo: number, hi: number): void {
    if (hi - lo <= LEAF) return;
    const order = this.#order, dimension = this.#dimension;
    let [axis, widest] = [0, -1];
    for (let j = 0; j < dimension; j++) {
      let [min, max] = [Infinity, -Infinity];
      for (let i = lo; i < hi; i++) {
        const value = table[order[i] * dimension + j];
        if (value < min) min = value;
        if (value > max) max = value;
      }
      if (max - min > widest) [axis, widest] = [j, max - min];
    }
    const middle = (lo + hi) >> 1;
    select(order, lo, hi - 1, middle, (entry) => table[entry * dimension + axis]);
    this.#axes[node] = axis;
    this.#splits[node] = table[order[middle] * dimension + axis];
    this.#build(table, 2 * node, lo, middle);
    this.#build(table, 2 * node + 1, middle, hi);
  }

  #search(node: number, lo: number, hi: number, bound: number): void {
    if (hi - lo <= LEAF) return this.#leaf(lo, hi);
    const axis = this.#axes[node];
    const difference = this.#point[axis] - this.#splits[node];
    const middle = (lo + hi) >> 1;
    const left = difference < 0;
    if (left) this.#search(2 * node, lo, middle, bound);
    else this.#search(2 * node + 1, middle, hi, bound);
    const before = this.#offsets[axis];
    const far = bound + this.#weight[axis] * (difference * difference - before * before);
    if (far > this.distance * ROUNDING) return;
    this.#offsets[axis] = difference;
    if (left) this.#search(2 * node + 1, middle, hi, far);
    else this.#search(2 * node, lo, middle, far);
    this.#offsets[axis] = before;
  }

  #leaf(lo: number, hi: number): void {
    const dimension = this.#dimension, point = this.#point, weight = this.#weight;
    const sorted = this.#sorted;
    for (let i = lo, at = lo * dimension; i < hi; i++) {
      const end = at + dimension;
      let sum = 0;
      for (let j = 0; at < end && sum <= this.distance; at++, j++) {
        const difference = point[j] - sorted[at];
        sum += weight[j] * difference * difference;
      }
      at = end;
      const entry = this.#order[i];
      if (sum < this.distance || (sum === this.distance && entry < this.index)) {
        this.index = entry;
        this.distance = sum;
      }
    }
  }
}

/** Reorders `lo` to `hi` (included) so that the element at `k` is where sorting would put it. */
function select(
  order: Uint32Array,
  lo: number,
  hi: number,
  k: number,
  key: (entry: number) => number,
): void {
  while (lo < hi) {
    const pivot = key(order[(lo + hi) >> 1]);
    let [i, j] = [lo, hi];
    while (i <= j) {
      while (key(order[i]) < pivot) i++;
      while (key(order[j]) > pivot) j--;
      if (i <= j) {
        const swap = order[i];
        order[i++] = order[j];
        order[j--] = swap;
      }
    }
    if (k <= j) hi = j;
    else if (k >= i) lo = i;
    else return;
  }
}
