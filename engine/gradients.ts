/**
 * Gradients of the model's loss piece by piece, so that memory holds one piece: the head and the loss
 * over a few rows at a time, and the vector-Jacobian product of one block. Plugins that take gradients
 * of the whole model in one program need more; {@linkcode wholeGradientBytes} says how
 * much.
 *
 * @module
 */

import type { Autodiff, Buffer, Kernels, LinearInfo, Program } from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { runHead } from "../models/interpreter.ts";
import {
  type LinearExecutor,
  type LoadedPart,
  loadPart,
  weightExecutor,
} from "../models/linear.ts";
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

/** About what the program of one block takes on one window. */
export function blockGradientBytes({ linears, hyperparameters }: Shapes, tokens: number): number {
  const inside = linears.filter(({ block }) => block === 0);
  return programBytes(inside, tokens, (hyperparameters.heads ?? 0) * tokens);
}

/** What the head takes: its weight and the transpose, read and in the kernels' memory, and logits. */
export function headGradientBytes({ hyperparameters: { vocab, hidden } }: Shapes): number {
  return 16 * vocab * hidden + 24 * Math.max(vocab, LOGITS_AT_ONCE);
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

/**
 * The gradients of each window's mean negative log-likelihood by what the last block makes of it. Both
 * products with the head's weight, by far the most work, are the kernels'; what the graph has before
 * and behind them is differentiated.
 */
export async function headGradients(args: HeadGradientsArguments): Promise<Float32Array[]> {
  const { autodiff, model, kernels, windows, outputs } = args;
  const { hyperparameters, architecture: { graph } } = model;
  const { hidden, vocab } = hyperparameters;
  const nodes = graph.after;
  const values = new Map<string, Float32Array>();
  const others = nodes.filter(({ op }) => op !== "linear");
  for (const name of others.flatMap((node) => weightsOf(node, hyperparameters))) {
    values.set(name, await parameterTensor(model, name).read());
  }
  const linear = (id: string) => model.linears.find((linear) => linear.id === id)!;
  const part = { nodes, hyperparameters, kernels, linear, weight: (n: string) => values.get(n)! };
  using behind = autodiff.compile((scope) => {
    const { x, products, targets, share } = scope.inputs;
    const logits = differentiate(part, scope, x, { linear: () => products });
    return logits.logSumExp().mul(share).sum().sub(logits.mul(targets).sum());
  }, ["products"]);
  using before = autodiff.compile((scope) => {
    let input = scope.inputs.x;
    differentiate(part, scope, input, { linear: (_, x) => input = x });
    return input.mul(scope.inputs.gradient).sum();
  }, ["x"]);
  using head = await HeadProducts.load(model, kernels);
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
      const shape = [1, rows, vocab];
      const x = {
        values: outputs[i].subarray(start * hidden, (start + rows) * hidden),
        shape: [1, rows, hidden],
      };
      const { products } = behind.run({
        x,
        products: { values: head.forwards(x.values, rows), shape },
        targets: { values: targets, shape },
        share: { values: share, shape: [1, rows] },
      }).gradients;
      const values = head.backwards(products, rows);
      const { gradients } = before.run({ x, gradient: { values, shape: x.shape } });
      found.set(gradients.x, start * hidden);
    }
    return found;
  });
}

/** Products with the head's weight and with its transpose. */
class HeadProducts implements Disposable {
  private constructor(
    readonly model: ModelGraph,
    readonly kernels: Kernels,
    readonly part: LoadedPart,
    readonly transposed: LinearExecutor,
  ) {}

  /** Reads what comes after the blocks. */
  static async load(model: ModelGraph, kernels: Kernels): Promise<HeadProducts> {
    const nodes = model.architecture.graph.after;
    const id = nodes.flatMap((node) => node.op === "linear" ? [node.weight as string] : [])[0];
    const { rows, columns } = model.linears.find((linear) => linear.id === id)!;
    const weight = await parameterTensor(model, id).read();
    const transposed = new Float32Array(weight.length);
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < columns; k++) transposed[k * rows + row] = weight[row * columns + k];
    }
    const part = await loadPart({ model, kernels, nodes });
    const executor = weightExecutor(kernels, kernels.denseWeight(transposed, columns, rows));
    return new HeadProducts(model, kernels, part, executor);
  }

  /** What the head's weight makes of rows of the last block's output. */
  forwards(values: Float32Array, tokens: number): Float32Array {
    const { kernels, part, model: { hyperparameters, architecture: { graph } } } = this;
    let products = new Float32Array(0);
    using x = kernels.upload(values);
    const { parameter } = part;
    const linear = (role: string, input: Buffer<"f32">) => {
      const made = part.linear(role, input, tokens);
      products = made.array.slice();
      return made;
    };
    runHead({ graph, kernels, hyperparameters, x, tokens, parameter, linear }).free();
    return products;
  }

  /** The gradient by the input of the head's weight, from that by its products. */
  backwards(gradient: Float32Array, tokens: number): Float32Array {
    using g = this.kernels.upload(gradient);
    using made = this.transposed.apply(g, tokens);
    return made.array.slice();
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    this.part.free();
    this.transposed.free();
  }
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
