/**
 * Random numbers that are the same on every machine: xoshiro128** seeded from a text.
 *
 * @module
 */

import type { Rng } from "../spec/mod.ts";

/**
 * A generator for a label, such as `"0/quip/blocks.3.attention.query"`.
 *
 * @example
 * ```ts
 * import { seededRng } from "./rng.ts";
 * seededRng("a").uint32() === seededRng("a").uint32(); // true
 * ```
 */
export function seededRng(label: string): Rng {
  const state = new Uint32Array(4);
  // FNV-1a over the label with four different offsets fills the state.
  for (let word = 0; word < 4; word++) {
    let hash = (0x811c9dc5 ^ Math.imul(word + 1, 0x9e3779b9)) >>> 0;
    for (const byte of new TextEncoder().encode(label)) {
      hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    }
    state[word] = mix(hash);
  }
  if (state.every((word) => word === 0)) state[0] = 1;
  const uint32 = () => {
    const result = Math.imul(rotate(Math.imul(state[1], 5), 7), 9) >>> 0;
    const t = state[1] << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotate(state[3], 11);
    return result;
  };
  return rngFrom(uint32);
}

/** Random numbers of all kinds from a source of 32-bit ones. */
export function rngFrom(uint32: () => number): Rng {
  const uniform = () => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) / 2 ** 53;
  // Sum of twelve uniforms would have thin tails; the polar method needs only +, *, /, sqrt and log.
  const normal = (): number => {
    for (;;) {
      const [u, v] = [2 * uniform() - 1, 2 * uniform() - 1];
      const s = u * u + v * v;
      if (s > 0 && s < 1) return u * Math.sqrt(-2 * logarithm(s) / s);
    }
  };
  return { uint32, uniform, normal };
}

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

/** The finaliser of MurmurHash3: every bit of the input changes about half of the output. */
function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The natural logarithm from exact steps, so that no engine's own `Math.log` matters. */
function logarithm(x: number): number {
  let exponent = 0;
  while (x < 0.75) [x, exponent] = [x * 2, exponent - 1];
  while (x > 1.5) [x, exponent] = [x / 2, exponent + 1];
  // ln x = 2 artanh((x - 1) / (x + 1)); |ratio| <= 0.2, so 24 terms are below 2^-53.
  const ratio = (x - 1) / (x + 1);
  let [term, sum] = [ratio, 0];
  for (let n = 1; n < 48; n += 2) {
    sum += term / n;
    term *= ratio * ratio;
  }
  return 2 * sum + exponent * 0.6931471805599453;
}
