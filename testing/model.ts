/**
 * Runs of the engine on a tiny model that is made in memory.
 *
 * @module
 */

import { quantizeModel } from "../engine/quantize.ts";
import { seededRng } from "../engine/rng.ts";
import { planBudget } from "../engine/budget.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { writeSafetensors } from "../formats/containers/safetensors.ts";
import { schemes, vectorFormats } from "../formats/lookup.ts";
import { openCheckpoint } from "../formats/open.ts";
import { createTargets } from "../formats/targets.ts";
import {
  type Checkpoint,
  LowbitError,
  type Plugin,
  recipeSchema,
  vectorMisfit,
} from "../spec/mod.ts";
import type { AutodiffLoader } from "../engine/differentiate.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { accepts, type Bench, benchOf } from "./bench.ts";
import { type Findings, messageOf } from "./report.ts";
import { fingerprint } from "./snapshot.ts";

const SIZES = { hidden: 32, mlp: 48, heads: 4, kvHeads: 2, blocks: 2, vocab: 40, context: 64 };

/** A Llama of two blocks with random weights. */
async function tinyModel(bench: Bench): Promise<Checkpoint> {
  const { hidden, mlp, heads, kvHeads, blocks, vocab, context } = SIZES;
  const kv = kvHeads * hidden / heads;
  const shapes: [string, number[]][] = [["model.embed_tokens.weight", [vocab, hidden]]];
  for (let i = 0; i < blocks; i++) {
    const add = (name: string, ...shape: number[]) =>
      shapes.push([`model.layers.${i}.${name}.weight`, shape]);
    add("input_layernorm", hidden);
    add("self_attn.q_proj", hidden, hidden);
    add("self_attn.k_proj", kv, hidden);
    add("self_attn.v_proj", kv, hidden);
    add("self_attn.o_proj", hidden, hidden);
    add("post_attention_layernorm", hidden);
    add("mlp.gate_proj", mlp, hidden);
    add("mlp.up_proj", mlp, hidden);
    add("mlp.down_proj", hidden, mlp);
  }
  shapes.push(["model.norm.weight", [hidden]], ["lm_head.weight", [vocab, hidden]]);
  const output = memoryOutput("tiny");
  const entries = shapes.map(([name, shape]) => ({ name, shape, type: "float32" as const }));
  const writer = await writeSafetensors(await output.file("model.safetensors"), entries);
  for (const { name, shape } of entries) {
    const rng = seededRng(`testing/tiny/${name}`);
    const count = shape.reduce((a, b) => a * b, 1);
    // Norms near 1, with a large channel, as real models have them.
    const values = Float32Array.from(
      { length: count },
      (_, i) => shape.length === 1 ? (i === 5 ? 4 : 1 + rng.normal() / 10) : rng.normal() / 5,
    );
    await writer.write(name, new Uint8Array(values.buffer));
  }
  await writer.finish();
  const config = await output.file("config.json");
  await config.write(new TextEncoder().encode(JSON.stringify({
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    hidden_size: hidden,
    intermediate_size: mlp,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    num_hidden_layers: blocks,
    vocab_size: vocab,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
  })));
  await config.close();
  await output.commit();
  return openCheckpoint([...output.files].map(([name, bytes]) => memorySource(name, bytes)), bench);
}

/** What the checks of runs need. */
export interface ModelArguments {
  /** The plugin; its hooks tell when they change inputs. */
  plugin: Plugin;
  /** Its options. */
  options: Record<string, unknown>;
  /** WebAssembly kernels. */
  bench: Bench;
  /** Loads the autodiff library. */
  autodiff: AutodiffLoader;
  /** Plugins that it is combined with: one that rounds to nearest. */
  nearest: Plugin;
  /** Takes what is found. */
  findings: Findings;
}

/** Hooks that a run calls. */
const RUN = [
  ...["plan", "planLosses", "collect", "transformModel", "transform", "clip", "quantize"],
  ...["quantizeVector", "compensate", "learn", "learnModel"],
] as const;

/** Quantises the tiny model twice: on one thread, and on two. */
export async function checkRuns(args: ModelArguments): Promise<void> {
  const { plugin, findings, bench } = args;
  if (!RUN.some((hook) => hook in plugin)) return;
  const run = async (on: Bench) => {
    try {
      const files = await quantize(args, on);
      findings.case("run");
      if (transforms(plugin)) findings.case("function");
      return files;
    } catch (error) {
      // The engine proves transforms by itself, and says so.
      const moved = error instanceof LowbitError &&
        /changed the (output|prediction)/.test(error.problem);
      findings.case(moved ? "function" : "run", `on a tiny model: ${messageOf(error)}`);
      return undefined;
    }
  };
  const first = await run(bench);
  if (first === undefined) return;
  const kernels = await loadKernels({ threads: 2 });
  const second = await run(benchOf(kernels));
  kernels.close();
  const same = first === second;
  findings.case("repeat", same ? undefined : "runs on a tiny model differ on one and two threads");
}

const transforms = (plugin: Plugin) =>
  plugin.transform !== undefined || plugin.transformModel !== undefined || plugin.meta.transforms;

/** A fingerprint of the files of a run. */
async function quantize(args: ModelArguments, bench: Bench): Promise<string> {
  const { plugin, options, nearest, autodiff } = args;
  const { name } = plugin.meta;
  const rounds = plugin.quantize !== undefined || plugin.quantizeVector !== undefined;
  // Learners and compensators work on what was quantised before them.
  const after = ["learn", "learnModel", "compensate"].some((hook) => hook in plugin);
  const own = { use: name, options };
  const other = rounds ? [] : [{ use: nearest.meta.name, options: {} }];
  const weight = weightOf(plugin, bench);
  const recipe = recipeSchema.parse({
    name: "testing",
    assign: [{ select: ["blocks.*"], weight }],
    ...plugin.planLosses && {
      budget: {
        schemes: [2, 4, 8].map((bits) => ({ base: "int8_channel_asym", element: `uint${bits}` })),
        bits: 7,
      },
    },
    pipeline: after ? [...other, own] : [own, ...other],
  });
  const checkpoint = await tinyModel(bench);
  const output = memoryOutput("testing");
  const calibration = [0, 1, 2].map((w) =>
    Int32Array.from({ length: 24 }, (_, i) => (w * 31 + i * i * 7 + i * 13) % SIZES.vocab)
  );
  const run = {
    ...bench,
    checkpoint,
    recipe,
    calibration,
    autodiff,
    target: createTargets(bench).find(({ id }) => id === "lowbit")!,
    plugins: [plugin, ...other.length > 0 ? [nearest] : []],
  };
  const planned = recipe.budget ? (await planBudget({ ...run, onWarning() {} })).recipe : recipe;
  await quantizeModel({ ...run, recipe: planned, output });
  const files = [...output.files].filter(([file]) => file.endsWith(".safetensors"));
  return fingerprint(files.map(([file, bytes]) => [file, bytes]));
}

/** A scheme or vector format that the plugin supports. */
function weightOf(plugin: Plugin, { codecs }: Bench): string {
  const { vectors } = plugin.meta.supports;
  const fits = (id: string) => accepts(plugin, codecs.resolve(id));
  if (!plugin.quantize && plugin.quantizeVector) {
    const shapes = [[32, 32], [16, 32], [48, 32], [32, 48]];
    return vectorFormats.ids().find((id) => {
      const format = codecs.resolveVector(id)!;
      return (!vectors || vectors.includes(format.family)) &&
        shapes.every(([rows, columns]) => !vectorMisfit(format, rows, columns));
    }) ?? "lut4_channel";
  }
  return ["int4_channel_sym", "int4_g32_asym", ...schemes.ids()].find(fits) ?? "int4_channel_sym";
}
