/**
 * Gradients of the model's loss piece by piece, so that memory holds one piece: the head and the loss
 * over a few rows at a time, and the vector-Jacobian product of one block. Plugins that take gradients
 * of the whole model in one program need more; {@linkcode wholeGradientBytes} says how
 * much.
 *
 * @module
 */

import { type Autodiff, type Kernels, type LinearInfo, type Program } from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { weightsOf } from "../models/values.ts";
import { parameterTensor } from "../models/weights.ts";
import type { LoadedBlock } from "./block.ts";
import { differentiate } from "./differentiate.ts";

/** Logits that one program of the head makes. */
const LOGITS_AT_ONCE = 2 ** 22;

/** What a program can hold at most: WebAssembly addresses 32 bits. */
export const AUTODIFF_BYTES = 2 ** 32;

/** What the memory of gradients is estimated from. */
type Shapes = Pick<ModelGraph, "linears" | "hyperparameters">;

/** About what one program takes for the gradients of the whole model on one window. */
export function wholeGradientBytes(model: Shapes, tokens: number): number {
  const { vocab, hidden, blocks, heads = 0 } = model.hyperparameters;
  const inside = model.linears.filter(({ block }) => block !== undefined);
  return programBytes(inside, tokens, vocab + blocks * heads * tokens) + 16 * vocab * hidden;
}

/** About what the programs of one block and of the head take, the larger of both, on one window. */
export function blockGradientBytes(model: Shapes, tokens: number): number {
  const { vocab, hidden, heads = 0 } = model.hyperparameters;
  const inside = model.linears.filter(({ block }) => block === 0);
  const head = 16 * vocab * hidden + 24 * Math.max(vocab, LOGITS_AT_ONCE);
  return Math.max(head, programBytes(inside, tokens, heads * tokens));
}

/**
 * Weights as given, transposed, and their gradients; inputs and outputs of linears, scores of attention
 * and logits, each with what element-wise operations keep of them. Measured, and on the safe side.
 */
function programBytes(linears: readonly LinearInfo[], tokens: number, others: number): number {
  const weights = linears.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const wide = linears.reduce((sum, { rows, columns }) => sum + rows + columns, 0);
  return 4 * (4 * weights + tokens * (8 * wide + 6 * others));
}

/** What {@linkcode headGradients} needs. */
export interface HeadGradientsArguments {
  /** The autodiff library. */
  autodiff: Autodiff;
  /** The model. */
  model: ModelGraph;
  /** The kernels. */
  kernels: Kernels;
  /** Windows of token ids. */
  windows: readonly Int32Array[];
  /** What the last block makes of each. */
  outputs: readonly Float32Array[];
}

/** The gradients of each window's mean negative log-likelihood by what the last block makes of it. */
export async function headGradients(args: HeadGradientsArguments): Promise<Float32Array[]> {
  const { autodiff, model, kernels, windows, outputs } = args;
  const { hyperparameters } = model;
  const { hidden, vocab } = hyperparameters;
  const nodes = model.architecture.graph.after;
  const values = new Map<string, Float32Array>();
  for (const name of nodes.flatMap((node) => weightsOf(node, hyperparameters))) {
    values.set(name, await parameterTensor(model, name).read());
  }
  const head = {
    nodes,
    hyperparameters,
    kernels,
    linear: (id: string) => model.linears.find((linear) => linear.id === id)!,
    weight: (name: string) => values.get(name)!,
  };
  using program = autodiff.compile((scope) => {
    const { x, targets, share } = scope.inputs;
    const logits = differentiate(head, scope, x);
    return logits.logSumExp().mul(share).sum().sub(logits.mul(targets).sum());
  }, ["x"]);
  const most = Math.max(1, Math.floor(LOGITS_AT_ONCE / vocab));
  return windows.map((window, i) => {
    const found = new Float32Array(outputs[i].length);
    for (let start = 0; start < window.length; start += most) {
      const rows = Math.min(most, window.length - start);
      const targets = new Float32Array(rows * vocab), share = new Float32Array(rows);
      for (let row = 0; row < rows && start + row + 1 < window.length; row++) {
        share[row] = 1 / (window.length - 1);
        targets[row * vocab + window[start + row + 1]] = share[row];
      }
      const x = outputs[i].subarray(start * hidden, (start + rows) * hidden);
      const { gradients } = program.run({
        x: { values: x, shape: [1, rows, hidden] },
        targets: { values: targets, shape: [1, rows, vocab] },
        share: { values: share, shape: [1, rows] },
      });
      found.set(gradients.x, start * hidden);
    }
    return found;
  });
}

/** What {@linkcode BlockGradients} needs. */
export interface BlockGradientsArguments {
  /** The autodiff library. */
  autodiff: Autodiff;
  /** The kernels. */
  kernels: Kernels;
  /** The block. */
  block: LoadedBlock;
  /** Those of its linears whose gradients are wanted. */
  linears: readonly LinearInfo[];
}

/** The vector-Jacobian product of a block, by its input and some of its weights. */
export class BlockGradients implements Disposable {
  readonly #args: BlockGradientsArguments;
  readonly #program: Program;

  /** Compiles it. */
  constructor(args: BlockGradientsArguments) {
    this.#args = args;
    const { autodiff, block, kernels, linears } = args;
    const wanted = new Set(linears.map(({ role }) => role));
    const part = {
      nodes: block.graph,
      hyperparameters: block.hyperparameters,
      kernels,
      linear: (role: string) => block.linear(role),
      weight: (name: string) => block.weight(name),
    };
    this.#program = autodiff.compile((scope) => {
      const { x, output } = scope.inputs;
      const made = differentiate(part, scope, x, {
        linear: (role, input) =>
          wanted.has(role) ? input.matmul(scope.inputs[`w/${role}`].transpose()) : undefined,
      });
      return made.mul(output).sum();
    }, ["x", ...linears.map(({ role }) => `w/${role}`)]);
  }

  /** The gradients for one window: its input, and the gradient of the loss by its output. */
  run(x: Float32Array, output: Float32Array): { x: Float32Array; weights: Float32Array[] } {
    const { block, linears } = this.#args;
    const { hidden } = block.hyperparameters;
    const shape = [1, x.length / hidden, hidden];
    const weights = linears.map(({ role, rows, columns }) =>
      [`w/${role}`, { values: block.weight(role), shape: [rows, columns] }] as const
    );
    const { gradients } = this.#program.run({
      x: { values: x, shape },
      output: { values: output, shape },
      ...Object.fromEntries(weights),
    });
    return { x: gradients.x, weights: weights.map(([name]) => gradients[name]) };
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    this.#program.free();
  }
}
