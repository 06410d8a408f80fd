/**
 * A needle in a haystack: whether a model finds a number that a long text has told it, by how far
 * back it was and how long the text is. Asked as multiple choice, so that small models can answer.
 *
 * @module
 */

import { type ChoiceItem, scoreChoices } from "./choices.ts";
import { seededRng } from "./rng.ts";

/** One cell of the result. */
export interface NeedleCell {
  /** Tokens of the text. */
  length: number;
  /** Where the needle is: 0 at the beginning, 1 at the end. */
  depth: number;
  /** Share of needles whose number was the most likely of all. */
  found: number;
  /** How many times it was tried. */
  trials: number;
}

/** Numbers to choose from; the chance of a guess is one of them. */
const CHOICES = 8;

/**
 * Hides needles in pieces of a text. The same seed gives the same needles; chance is 1 in 8.
 */
export async function findNeedles(
  args: Omit<Parameters<typeof scoreChoices>[0], "items"> & {
    haystack: string;
    lengths: readonly number[];
    depths: readonly number[];
    trials: number;
    seed: number;
    decode(ids: Int32Array): string;
  },
): Promise<NeedleCell[]> {
  const { haystack, lengths, depths, trials, seed, tokenizer, decode } = args;
  const ids = tokenizer.encode(haystack);
  const rng = seededRng(`needle/${seed}`);
  const cells: NeedleCell[] = [];
  for (const length of lengths) {
    for (const depth of depths) {
      const items: ChoiceItem[] = [];
      for (let trial = 0; trial < trials; trial++) {
        const numbers = new Set<number>();
        while (numbers.size < CHOICES) numbers.add(1000 + rng.uint32() % 9000);
        const choices = [...numbers].map((number) => ` ${number}`);
        const gold = rng.uint32() % CHOICES;
        const needle = ` The secret number is${choices[gold]}. `;
        const question = " Now say it again. The secret number is";
        const room = length - tokenizer.encode(needle + question + choices[gold]).length;
        const start = rng.uint32() % Math.max(1, ids.length - room);
        const at = start + Math.round(depth * room);
        const before = decode(ids.slice(start, at)), after = decode(ids.slice(at, start + room));
        const context = before + needle + after + question;
        items.push({ context, choices, lengths: choices.map((c) => c.length), gold });
      }
      const { acc } = await scoreChoices({ ...args, items });
      cells.push({ length, depth, found: acc, trials });
    }
  }
  return cells;
}
