/**
 * A whole model in memory, run again and again with some weights replaced: what planners are given.
 *
 * @module
 */

import type {
  Buffer,
  Codecs,
  DiffInputs,
  DiffReplacements,
  DiffScope,
  DiffTensor,
  Kernels,
  LinearInfo,
  ModelPlanner,
  ResolvedScheme,
} from "../spec/mod.ts";
import type { ModelGraph } from "../models/architecture.ts";
import { embedWindows } from "../models/evaluate.ts";
import { runHead } from "../models/interpreter.ts";
import { type LoadedPart, loadPart, weightExecutor } from "../models/linear.ts";
import { weightsOf } from "../models/values.ts";
import { parameterTensor } from "../models/weights.ts";
import { LoadedBlock } from "./block.ts";
import { differentiate } from "./differentiate.ts";

/** What {@linkcode WholeModel.load} needs. */
export interface WholeModelArguments {
  /** The model. */
  model: ModelGraph;
  /** The kernels. */
  kernels: Kernels;
  /** The codecs on them. */
  codecs: Codecs;
  /** Calibration windows. */
  windows: readonly Int32Array[];
  /** The schemes to choose from. */
  candidates: readonly ResolvedScheme[];
  /** The linears that a scheme is chosen for. */
  planned: readonly LinearInfo[];
}

/** A model with everything that runs need. */
export class WholeModel implements ModelPlanner, Disposable {
  readonly linears: readonly LinearInfo[];
  readonly windows: readonly Int32Array[];
  readonly candidates: readonly ResolvedScheme[];
  readonly planned: readonly LinearInfo[];
  readonly #args: WholeModelArguments;
  readonly #blocks: LoadedBlock[] = [];
  /** Inputs of each block, then outputs of the last, for each window. */
  readonly #states: Buffer<"f32">[][] = [];
  /** Log-probabilities of the model as it is, once a divergence has been asked for. */
  readonly #reference: Float32Array[] = [];
  readonly #outside = new Map<string, Float32Array>();
  #head!: LoadedPart;

  private constructor(args: WholeModelArguments) {
    this.#args = args;
    this.linears = args.model.linears.filter(({ block }) => block !== undefined);
    this.windows = args.windows;
    this.candidates = args.candidates;
    this.planned = args.planned;
  }

  /** Reads the model and runs the windows through it. */
  static async load(args: WholeModelArguments): Promise<WholeModel> {
    const whole = new WholeModel(args);
    const { model, kernels, windows } = args;
    try {
      whole.#states.push(await embedWindows(model, kernels, windows));
      for (let index = 0; index < model.hyperparameters.blocks; index++) {
        const block = await LoadedBlock.load(model, kernels, index, new Map());
        whole.#blocks.push(block);
        whole.#states.push(
          whole.#states[index].map((x, i) => block.run(x, windows[i].length)),
        );
      }
      whole.#head = await loadPart({ model, kernels, nodes: model.architecture.graph.after });
      for (const node of model.architecture.graph.after) {
        for (const name of weightsOf(node, model.hyperparameters)) {
          whole.#outside.set(name, await parameterTensor(model, name).read());
        }
      }
      return whole;
    } catch (error) {
      whole.free();
      throw error;
    }
  }

  get hyperparameters() {
    return this.#args.model.hyperparameters;
  }

  weight(id: string): Float32Array {
    const { block, role } = this.#linear(id);
    return this.#blocks[block!].weight(role);
  }

  rounded(id: string, scheme: ResolvedScheme): Float32Array {
    const { rows, columns } = this.#linear(id);
    const codec = this.#args.codecs.get(scheme);
    return codec.dequantize(codec.quantize(this.weight(id), rows, columns));
  }

  divergence(weights: ReadonlyMap<string, Float32Array>): number {
    const first = Math.min(...[...weights.keys()].map((id) => this.#linear(id).block!));
    let [sum, positions] = [0, 0];
    for (let i = this.#reference.length; i < this.windows.length; i++) {
      using rows = this.#logProbabilities(this.#states.at(-1)![i], this.windows[i].length);
      this.#reference.push(rows.array.slice());
    }
    for (const [i, { length }] of this.windows.entries()) {
      let x = this.#states[first][i];
      for (let index = first; index < this.#blocks.length; index++) {
        const y = this.#run(index, x, length, weights);
        if (x !== this.#states[first][i]) x.free();
        x = y;
      }
      using rows = this.#logProbabilities(x, length);
      x.free();
      const [q, p] = [rows.array, this.#reference[i]];
      for (let j = 0; j < q.length; j++) sum += Math.exp(p[j]) * (p[j] - q[j]);
      positions += length;
    }
    return sum / positions;
  }

  blockError(id: string, weight: Float32Array): number {
    const { block } = this.#linear(id);
    let [sum, elements] = [0, 0];
    for (const [i, { length }] of this.windows.entries()) {
      using y = this.#run(block!, this.#states[block!][i], length, new Map([[id, weight]]));
      const [made, expected] = [y.array, this.#states[block! + 1][i].array];
      for (let j = 0; j < made.length; j++) sum += (made[j] - expected[j]) ** 2;
      elements += made.length;
    }
    return sum / elements;
  }

  batch(windows: readonly number[]): DiffInputs {
    const { hidden, vocab } = this.hyperparameters;
    const length = this.windows[windows[0]].length;
    const count = windows.length * (length - 1);
    const x = new Float32Array(windows.length * length * hidden);
    const targets = new Float32Array(windows.length * length * vocab);
    const share = new Float32Array(windows.length * length);
    windows.forEach((window, i) => {
      x.set(this.#states[0][window].array, i * length * hidden);
      for (let t = 0; t + 1 < length; t++) {
        targets[(i * length + t) * vocab + this.windows[window][t + 1]] = 1 / count;
        share[i * length + t] = 1 / count;
      }
    });
    return {
      x: { values: x, shape: [windows.length, length, hidden] },
      targets: { values: targets, shape: [windows.length, length, vocab] },
      share: { values: share, shape: [windows.length, length] },
    };
  }

  loss(scope: DiffScope, replaced: DiffReplacements = {}): DiffTensor {
    const { model, kernels } = this.#args;
    const { graph } = model.architecture;
    let { x } = scope.inputs;
    for (const [index, block] of this.#blocks.entries()) {
      const part = {
        nodes: block.graph,
        hyperparameters: this.hyperparameters,
        kernels,
        linear: (role: string) => block.linear(role),
        weight: (name: string) => block.weight(name),
      };
      const id = (name: string) => `blocks.${index}.${name}`;
      x = differentiate(part, scope, x, {
        linear: (role, input) => replaced.linear?.(id(role), input),
        parameter: (name) => replaced.parameter?.(id(name)),
      });
    }
    const head = {
      nodes: graph.after,
      hyperparameters: this.hyperparameters,
      kernels,
      linear: (role: string) => this.#linear(role),
      weight: (name: string) => this.#outside.get(name)!,
    };
    const logits = differentiate(head, scope, x, replaced);
    const { targets, share } = scope.inputs;
    return logits.logSumExp().mul(share).sum().sub(logits.mul(targets).sum());
  }

  /** Gives the memory back. */
  free(): void {
    for (const x of this.#states.flat()) x.free();
    for (const block of this.#blocks) block.free();
    this.#head?.free();
  }

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    this.free();
  }

  #linear(id: string): LinearInfo {
    return this.#args.model.linears.find((linear) => linear.id === id)!;
  }

  #run(
    index: number,
    x: Buffer<"f32">,
    tokens: number,
    weights: ReadonlyMap<string, Float32Array>,
  ): Buffer<"f32"> {
    const { kernels } = this.#args;
    const block = this.#blocks[index];
    const executors = new Map(
      block.linears.flatMap(({ id, role, rows, columns }) => {
        const weight = weights.get(id);
        if (!weight) return [];
        return [[
          role,
          weightExecutor(kernels, kernels.denseWeight(weight, rows, columns)),
        ]] as const;
      }),
    );
    try {
      return block.run(x, tokens, { executors });
    } finally {
      for (const executor of executors.values()) executor.free();
    }
  }

  #logProbabilities(x: Buffer<"f32">, tokens: number): Buffer<"f32"> {
    const { model, kernels } = this.#args;
    const { parameter, linear } = this.#head;
    const { hyperparameters, architecture: { graph } } = model;
    const run = { graph, kernels, hyperparameters, parameter, linear, tokens };
    const logits = runHead({ ...run, x });
    kernels.logSoftmax({ x: logits, rows: tokens, columns: hyperparameters.vocab });
    return logits;
  }
}
