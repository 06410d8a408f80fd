/**
 * QLoRA: low-rank adapters on quantised weights, learned through the whole model.
 *
 * @module
 */

import { z } from "zod";
import {
  definePlugin,
  type DiffInputs,
  LowbitError,
  type LowRankPart,
  type ModelLearned,
  type ModelLearner,
  type Plugin,
  PLUGIN_API_VERSION,
  type PluginContext,
  type Rng,
  schema,
} from "../../../spec/mod.ts";
import { adam, type Optimizer } from "../../_math/optimizer.ts";

/** Options of {@linkcode qlora}. */
export interface QloraOptions {
  /** The rank of the adapters. */
  rank: number;
  /** Adapters are multiplied by `alpha / rank`. */
  alpha: number;
  /** The roles of the linears that get one; all, if the list is empty. */
  targets: string[];
  /** Steps of the optimiser. */
  steps: number;
  /** Windows of a step. */
  batch: number;
  /** The learning rate. */
  rate: number;
  /** Decay of the adapters. */
  decay: number;
  /** The largest norm of all gradients together; 0 leaves them as they are. */
  max_norm: number;
  /** The share of the windows that chooses which step is kept. */
  held_out: number;
  /** How often the loss on them is looked at. */
  checks: number;
}

/**
 * QLoRA (Dettmers et al. 2023, arXiv 2305.14314, eq. 5) on LoRA (Hu et al. 2021, arXiv 2106.09685, eq.
 * 3): a linear gives `x W^T + s (x A^T) B^T` with `s = alpha / rank`, A `[rank, columns]` and B
 * `[rows, rank]`; W is what the codes read back as (in NF4 with doubly quantised scales, in the recipe
 * qlora-nf4) and is never changed. A starts uniform within `1 / sqrt(columns)` and B at zero, so that
 * the start is the quantised model. AdamW lowers the mean negative log-likelihood of the next token on
 * the calibration windows; gradients go into A and B alone, and their norm is clipped. Part of the
 * windows is not learned from: of the start and some later steps, the adapters with the least loss on
 * them are kept. Dropout and the paging of the optimiser's state are left out. The inputs of linears
 * are not quantised while learning.
 *
 * @example
 * ```ts
 * import { qlora } from "./mod.ts";
 * qlora.options.parse({}).rank; // 8
 * ```
 */
export const qlora: Plugin<QloraOptions> = definePlugin({
  meta: {
    name: "qlora",
    version: "1.0.0",
    apiVersion: PLUGIN_API_VERSION,
    summary: "low-rank adapters on quantised weights, learned through the whole model",
    paper: {
      title: "QLoRA: Efficient Finetuning of Quantized LLMs",
      id: "arXiv 2305.14314",
      equation: "5",
    },
    needs: { statistics: [], autodiff: true },
    supports: {},
    determinism: "seeded",
  },
  options: schema(
    "options of qlora",
    z.strictObject({
      rank: z.int().min(1).max(4096).default(8).describe("rank of the adapters"),
      alpha: z.number().positive().max(65536).default(16).describe(
        "adapters are multiplied by alpha / rank",
      ),
      targets: z.array(z.string()).default([]).describe(
        "roles of the linears with an adapter; all, if empty",
      ),
      steps: z.int().min(0).max(1_000_000).default(100).describe("steps of the optimiser"),
      batch: z.int().min(1).max(1024).default(4).describe("windows of a step"),
      rate: z.number().min(0).max(10).default(2e-4).describe("learning rate"),
      decay: z.number().min(0).max(10).default(0).describe("weight decay of the adapters"),
      max_norm: z.number().min(0).max(1e6).default(0.3).describe(
        "largest norm of the gradients; 0 does not clip",
      ),
      held_out: z.number().min(0).max(0.5).default(0.125).describe(
        "share of the windows that chooses the step that is kept",
      ),
      checks: z.int().min(1).max(1000).default(5).describe("how often their loss is looked at"),
    }),
  ),
  learnModel({ context, model, linears }): ModelLearned {
    const { options } = context;
    const { targets } = options;
    for (const role of targets) {
      if (linears.some((linear) => linear.role === role)) continue;
      throw new LowbitError("UNKNOWN_NAME", `${JSON.stringify(role)} is the role of no linear`, {
        field: "targets",
        advice: `roles with codes: ${[...new Set(linears.map((l) => l.role))].join(", ")}`,
      });
    }
    const chosen = linears.filter(({ role }) => targets.length === 0 || targets.includes(role));
    const adapters = new Map(chosen.map(({ id, rows, columns }): [string, Adapter] => {
      const rank = Math.min(options.rank, rows, columns);
      const rng = context.rng(id), bound = 1 / Math.sqrt(columns);
      const a = Float32Array.from(
        { length: rank * columns },
        () => bound * (2 * rng.uniform() - 1),
      );
      const optimizers = [1, 2].map(() => adam(options.rate, { decay: options.decay }));
      return [id, { rows, columns, rank, a, b: new Float32Array(rows * rank), optimizers }];
    }));
    if (adapters.size > 0) train(context, model, adapters);
    return {
      side: new Map([...adapters].map(([id, { rank, a, b }]): [string, LowRankPart] => {
        const left = b.map((value) => value * (options.alpha / rank));
        return [id, { kind: "low_rank", rank, left, right: a }];
      })),
    };
  },
});

interface Adapter {
  rows: number;
  columns: number;
  rank: number;
  /** `[rank, columns]` */
  a: Float32Array;
  /** `[rows, rank]` */
  b: Float32Array;
  /** Of A and of B. */
  optimizers: Optimizer[];
}

/** Trains the adapters in place; the best ones are left in them. */
function train(
  { options, autodiff, rng, warn }: PluginContext<QloraOptions>,
  model: ModelLearner,
  adapters: ReadonlyMap<string, Adapter>,
): void {
  const { learned, kept, batch } = split(model.windows.length, options);
  const weights = new Map(
    [...adapters].map(([id, { rows, columns }]) => {
      return [id, autodiff!.upload(model.weight(id), [rows, columns])] as const;
    }),
  );
  const names = [...adapters.keys()].flatMap((id) => [`${id}/a`, `${id}/b`]);
  using program = autodiff!.compile((scope) =>
    model.loss(scope, {
      linear(id, x) {
        const adapter = adapters.get(id);
        if (!adapter) return undefined;
        const { [`${id}/a`]: a, [`${id}/b`]: b, [`${id}/w`]: w } = scope.inputs;
        const narrow = x.matmul(a.transpose());
        const more = narrow.matmul(b.transpose()).mul(options.alpha / adapter.rank);
        return x.matmul(w.transpose()).add(more);
      },
    }), names);
  const run = (windows: readonly number[]) => {
    const inputs: Record<string, DiffInputs[string]> = { ...model.batch(windows) };
    for (const [id, { rows, columns, rank, a, b }] of adapters) {
      inputs[`${id}/a`] = { values: a, shape: [rank, columns] };
      inputs[`${id}/b`] = { values: b, shape: [rows, rank] };
      inputs[`${id}/w`] = weights.get(id)!;
    }
    const { value: [loss], gradients } = program.run(inputs);
    if (!Number.isFinite(loss)) {
      throw new LowbitError("NUMERICS", "the loss is not a number", {
        advice: "use a smaller learning rate",
      });
    }
    return { loss, gradients };
  };
  const heldOutLoss = () => {
    let sum = 0;
    for (let i = 0; i < kept.length; i += batch) sum += run(kept.slice(i, i + batch)).loss;
    return sum / (kept.length / batch);
  };
  const snapshot = () => [...adapters.values()].map(({ a, b }) => [a.slice(), b.slice()]);
  try {
    const start = heldOutLoss();
    let least = start, best = snapshot();
    const order = endless(learned, rng("order"));
    for (let step = 0; step < options.steps; step++) {
      const { gradients } = run(Array.from({ length: batch }, () => order.next().value!));
      const share = clipped(Object.values(gradients), options.max_norm);
      for (const [id, { a, b, optimizers }] of adapters) {
        for (const [i, values] of [a, b].entries()) {
          const gradient = gradients[`${id}/${"ab"[i]}`];
          optimizers[i](values, share === 1 ? gradient : gradient.map((g) => g * share), 1);
        }
      }
      const due = Math.floor((step + 1) * options.checks / options.steps) >
        Math.floor(step * options.checks / options.steps);
      if (!due) continue;
      const loss = heldOutLoss();
      if (loss >= least) continue;
      least = loss;
      best = snapshot();
    }
    [...adapters.values()].forEach((adapter, i) => [adapter.a, adapter.b] = best[i]);
    if (options.steps > 0 && least === start) {
      warn("nothing learned was better on the windows that were held out: adapters are zero");
    }
  } finally {
    for (const weight of weights.values()) weight.free();
  }
}

/** Windows to learn from, windows to choose by, and the size of a batch: all batches are full. */
function split(count: number, { batch: asked, held_out }: QloraOptions) {
  const windows = Array.from({ length: count }, (_, i) => i);
  const batch = Math.min(asked, Math.max(1, Math.floor(count / 2)));
  const batches = Math.max(1, Math.round(held_out * count / batch));
  // Without windows to spare, those that are learned from choose.
  if (held_out === 0 || count < 2) {
    return { learned: windows, kept: windows.slice(0, Math.floor(count / batch) * batch), batch };
  }
  const first = count - batches * batch;
  return { learned: windows.slice(0, first), kept: windows.slice(first), batch };
}

/** The windows in one random order after the other. */
function* endless(windows: readonly number[], rng: Rng): Generator<number, number> {
  while (true) {
    const order = [...windows];
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(rng.uniform() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    yield* order;
  }
}

/** What gradients are multiplied by, so that all together have at most this norm. */
function clipped(gradients: readonly Float32Array[], most: number): number {
  if (most === 0) return 1;
  let sum = 0;
  for (const gradient of gradients) for (const g of gradient) sum += g * g;
  const norm = Math.sqrt(sum);
  return norm > most ? most / norm : 1;
}
