/**
 * Random numbers that are the same each time, where the caller gives none.
 *
 * @module
 */

/** Numbers within (0, 1): a Weyl sequence through the finaliser of MurmurHash3. */
export function fixedRandom(): () => number {
  let state = 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let hash = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32;
  };
}
