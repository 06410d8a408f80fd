/**
 * What holds a case back that misses its target, as profiles and trials have shown. The page says it
 * for the rows that miss in the run it is made of.
 *
 * @module
 */

/** What is asked of a line. */
interface Compared {
  case: string;
  shape: string;
  peerName: string;
  pass: boolean | null;
}

interface Reason {
  /** Cases that it is about. */
  of: RegExp;
  /** Peers that it is about. */
  beside: RegExp;
  /** What holds them back. */
  text: string;
}

const REASONS: readonly Reason[] = [
  {
    of: /^f32$/,
    beside: /onnxruntime|tile/,
    text: "Nearly all the time is in the loop of the tile, whose products and sums are separate " +
      "instructions: what decides stored bytes may not fuse them. Loops unrolled by 2 and 4, and " +
      "barriers that keep V8 from moving loads, were tried and are slower.",
  },
  {
    of: /f32 activations, g/,
    beside: /onnxruntime/,
    text:
      "Each segment of a group adds a product by its scale and a sum: groups of 128 are ahead " +
      "of groups of 32 by as much.",
  },
  {
    of: /int8 activations/,
    beside: /native ggml/,
    text: "Native code has vectors of 256 bits and more, and an instruction for sums of four " +
      "products; a WebAssembly vector has 128 bits.",
  },
  {
    of: /two threads/,
    beside: /one thread/,
    text: "The two cores are shared with other work, and the ratio is of the clock: it has been " +
      "between 1.53 and 1.94 in runs of the same program.",
  },
  {
    of: /bytes of weights/,
    beside: /reading memory/,
    text:
      "Unpacking codes takes turns with reading them. Prefetching by hand was tried and is slower.",
  },
  {
    of: /decode/,
    beside: /./,
    text: "Of the time of a token of SmolLM2 with 200 before it, 48 % are 4-bit products of the " +
      "blocks, 18 % the 8-bit product of the head, 16 % attention, 5 % rotary positions and gates, " +
      "and 11 % JavaScript between them.",
  },
  {
    of: /prompt/,
    beside: /./,
    text: "Of the time of a prompt of 128 tokens, 79 % are 4-bit products and 12 % attention.",
  },
];

/** What is known of the lines that miss, each reason once. */
export function reasonsOf(lines: readonly Compared[]): string[] {
  const missed = lines.filter(({ pass }) => pass === false);
  return REASONS.flatMap(({ of, beside, text }) => {
    const about = missed.filter((line) => of.test(line.case) && beside.test(line.peerName));
    if (about.length === 0) return [];
    const cases = new Set(
      about.map((line) => `${line.case}, ${line.shape}, beside ${line.peerName}`),
    );
    return [`- ${[...cases].join("; ")}. ${text}`];
  });
}
