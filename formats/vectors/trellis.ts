/**
 * Bit-shift trellises: what states mean, and sequences of codes as matrices.
 *
 * @module
 */

import type {
  TrellisCode,
  TrellisFormat,
  VectorEncodeOptions,
  VectorShape,
} from "../../spec/mod.ts";
import { decodePlain } from "../containers/plain.ts";
import { elementWeights, type Encoded, type VectorCoder } from "./coder.ts";
import { tailBiting, viterbi } from "./viterbi.ts";

const outputs = new WeakMap<TrellisFormat, Float32Array>();

/**
 * What every state of a trellis means: `[2^state, vector]`; made once.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { vectorFormat } from "../lookup.ts";
 * import { stateValues } from "./trellis.ts";
 * const format = vectorFormat("qtip_1mad_k2");
 * if (format.family !== "trellis") throw new Error();
 * assertAlmostEquals(stateValues(format)[0], -1.25169, 1e-5);
 * ```
 */
export function stateValues(format: TrellisFormat): Float32Array {
  let values = outputs.get(format);
  if (!values) outputs.set(format, values = makeValues(format));
  return values;
}

function makeValues({ code, state, vector }: TrellisFormat): Float32Array {
  const states = 2 ** state;
  const out = new Float32Array(states * vector);
  if (code.kind === "table") return Float32Array.from(code.values.flat());
  for (let s = 0; s < states; s++) writeState(code, s, out, s * vector);
  return out;
}

/** QTIP (arXiv 2406.11235), algorithms 1, 2 and section 3.1.2. */
function writeState(code: TrellisCode, s: number, out: Float32Array, offset: number): void {
  switch (code.kind) {
    case "1mad": {
      const x = (Math.imul(s, 34038481) + 76625530) >>> 0;
      const sum = (x & 255) + ((x >>> 8) & 255) + ((x >>> 16) & 255) + (x >>> 24);
      out[offset] = (sum - 510) / 147.800537109375; // 147.8005413 as f32
      break;
    }
    case "3inst": {
      const x = (Math.imul(s, 89226354) + 64248484) >>> 0;
      const halves = Uint32Array.of((x & 0x8fff8fff) ^ 0x3b603b60);
      const [low, high] = decodePlain("float16", new Uint8Array(halves.buffer));
      out[offset] = low + high;
      break;
    }
    case "hyb": {
      const x = (Math.imul(s, s) + s) >>> 0;
      const entry = code.values[(x >>> (15 - code.bits)) & (2 ** code.bits - 1)];
      const minus = (x >>> 15) & 1;
      entry.forEach((value, j) => out[offset + j] = minus && j === code.sign ? -value : value);
    }
  }
}

/** The coder of a trellis format. */
export class TrellisCoder implements VectorCoder {
  readonly #format: TrellisFormat;
  readonly #values: Float32Array;

  /** Of a format. */
  constructor(format: TrellisFormat) {
    this.#format = format;
    this.#values = stateValues(format);
  }

  /** The best codes of every sequence, by Viterbi's algorithm. */
  encode(x: Float32Array, shape: VectorShape, options: VectorEncodeOptions): Encoded {
    const { state, bits, vector, start } = this.#format;
    const values = this.#values;
    const weights = elementWeights(options.weights, shape);
    const codes = new Uint32Array(shape.codeRows * shape.codeColumns);
    forEachSequence(shape, (indices, at) => {
      const trellis = {
        sequence: Float32Array.from(indices, (i) => x[i]),
        ...(weights && { weights: Float32Array.from(indices, (i) => weights[i]) }),
        values,
        state,
        step: bits * vector,
      };
      const { codes: chosen } = start === "zero"
        ? viterbi({ ...trellis, start: 0 })
        : tailBiting(trellis);
      codes.set(chosen, at);
    });
    return { codes };
  }

  /** The values of the states that the codes lead through. */
  decode({ codes }: Encoded, shape: VectorShape): Float32Array {
    const { state, bits, vector, start } = this.#format;
    const mask = 2 ** state - 1;
    const out = new Float32Array(shape.rows * shape.columns);
    forEachSequence(shape, (indices, at) => {
      const own = codes.subarray(at, at + shape.unitCodes);
      const shift = (s: number, code: number) => ((s << (bits * vector)) | code) & mask;
      let s = start === "zero" ? 0 : own.reduce(shift, 0);
      own.forEach((code, t) => {
        s = shift(s, code);
        for (let v = 0; v < vector; v++) {
          out[indices[t * vector + v]] = this.#values[s * vector + v];
        }
      });
    });
    return out;
  }
}

/** The elements of every sequence in their order, and where its codes begin. */
function forEachSequence(
  shape: VectorShape,
  visit: (indices: Uint32Array, at: number) => void,
): void {
  const { rows, columns, unitRows, unitColumns, unitCodes, codeColumns } = shape;
  const indices = new Uint32Array(unitRows * unitColumns);
  for (let row = 0; row < rows; row += unitRows) {
    for (let column = 0; column < columns; column += unitColumns) {
      for (let i = 0; i < indices.length; i++) {
        const [r, c] = [Math.floor(i / unitColumns), i % unitColumns];
        indices[i] = (row + r) * columns + column + c;
      }
      visit(indices, row / unitRows * codeColumns + column / unitColumns * unitCodes);
    }
  }
}
