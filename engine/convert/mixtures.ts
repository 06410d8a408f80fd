/**
 * The mixtures of block types that llama.cpp names Q4_K_M and so on, as data: which tensors have
 * which type, by role and by the place of their block.
 *
 * @module
 */

import type { ConvertItem } from "./items.ts";

/** Which blocks a rule is for. */
type Blocks =
  | { first: number } // so many
  | { eighth: true } // the first eighth
  | { sixteenth: true } // the first sixteenth
  | { more: true }; // the first and last eighth, and every third between

/** A rule: tensors of a role, in some blocks, have a type. The first that holds counts. */
interface Rule {
  role: string;
  in?: Blocks;
  type: string;
}

/** A mixture. */
interface Mixture {
  /** The type of all others. */
  base: string;
  rules: readonly Rule[];
}

const MORE = { more: true } as const;

/** The mixtures by name. The output, or the embedding in its place, is Q6_K in all of them. */
export const MIXTURES: Readonly<Record<string, Mixture>> = {
  q2_k: {
    base: "q2_k",
    rules: [
      { role: "attn_v", type: "q3_k" },
      { role: "ffn_down", type: "q3_k" },
      { role: "attn_output", type: "q3_k" },
    ],
  },
  q3_k_s: { base: "q3_k", rules: [] },
  q3_k_m: {
    base: "q3_k",
    rules: [
      { role: "attn_v", in: { first: 2 }, type: "q5_k" },
      { role: "attn_v", type: "q4_k" },
      { role: "ffn_down", in: { sixteenth: true }, type: "q5_k" },
      { role: "ffn_down", type: "q4_k" },
      { role: "attn_output", type: "q4_k" },
    ],
  },
  q3_k_l: {
    base: "q3_k",
    rules: [
      { role: "attn_v", type: "q5_k" },
      { role: "ffn_down", type: "q5_k" },
      { role: "attn_output", type: "q5_k" },
    ],
  },
  q4_k_s: {
    base: "q4_k",
    rules: [
      { role: "attn_v", in: { first: 4 }, type: "q5_k" },
      { role: "ffn_down", in: { eighth: true }, type: "q5_k" },
    ],
  },
  q4_k_m: {
    base: "q4_k",
    rules: [
      { role: "attn_v", in: MORE, type: "q6_k" },
      { role: "ffn_down", in: MORE, type: "q6_k" },
    ],
  },
  q5_k_s: { base: "q5_k", rules: [] },
  q5_k_m: {
    base: "q5_k",
    rules: [
      { role: "attn_v", in: MORE, type: "q6_k" },
      { role: "ffn_down", in: MORE, type: "q6_k" },
    ],
  },
};

/** What takes the place of a type whose blocks of 256 do not fit the columns. */
const NARROW: Readonly<Record<string, string>> = {
  q2_k: "q4_0",
  q3_k: "q4_0",
  q4_k: "q5_0",
  q5_k: "q5_1",
  q6_k: "q8_0",
};

const SUPER_BLOCK = 256, BLOCK = 32;

/** The type of every tensor of a mixture; undefined for those that stay as they are. */
export function mixtureTypes(
  { base, rules }: Mixture,
  items: readonly ConvertItem[],
): (item: ConvertItem) => string | undefined {
  const blocks = 1 + Math.max(-1, ...items.map(({ name }) => blockOf(name) ?? -1));
  const output = items.some(({ name }) => name === "output.weight");
  const head = output ? "output.weight" : "token_embd.weight";
  return ({ name, tensor: { shape } }) => {
    if (shape.length !== 2) return undefined;
    const block = blockOf(name);
    const rule = block === undefined
      ? undefined
      : rules.find((rule) =>
        name === `blk.${block}.${rule.role}.weight` && holds(rule.in, block, blocks)
      );
    const type = name === head ? "q6_k" : rule?.type ?? base;
    if (shape[1] % SUPER_BLOCK === 0) return type;
    return shape[1] % BLOCK === 0 ? NARROW[type] : undefined;
  };
}

function blockOf(name: string): number | undefined {
  const match = /^blk\.(\d+)\./.exec(name);
  return match ? Number(match[1]) : undefined;
}

function holds(where: Blocks | undefined, block: number, blocks: number): boolean {
  if (!where) return true;
  const eighth = Math.floor(blocks / 8);
  if ("first" in where) return block < where.first;
  if ("eighth" in where) return block < eighth;
  if ("sixteenth" in where) return block < Math.floor(blocks / 16);
  return block < eighth || block >= Math.floor(7 * blocks / 8) || (block - eighth) % 3 === 2;
}
