/**
 * Models on real kernels and containers: logits, generation and scores of tiny checkpoints equal
 * those that transformers computed (tools/golden/models.py).
 */

import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { openCheckpoint } from "../formats/open.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { referenceKernels } from "../kernels-wasm/reference.ts";
import {
  createTokenizer,
  ggufMetadata,
  greedy,
  huggingfaceConfig,
  inverseRows,
  LanguageModel,
  type ModelGraph,
  openModel,
  parameterTensor,
  permuteRows,
  score,
  type ScoreOptions,
  StreamedModel,
  tokenizerFiles,
} from "../models/mod.ts";
import { klDivergence, perplexity } from "../plugins/mod.ts";
import {
  type Evaluator,
  type Kernels,
  LowbitError,
  type PluginContext,
  type Rng,
} from "../spec/mod.ts";
import { collect, largestDifference, plainPolicy } from "./models_bench.ts";

interface Golden {
  made_by: string;
  ids: number[];
  logits: number[][];
  generated: number[];
}

const folder = `${import.meta.dirname}/golden/models`;
const golden = (name: string): Golden =>
  JSON.parse(Deno.readTextFileSync(`${folder}/${name}/expected.json`));
const KERNELS: Record<string, Kernels> = {
  wasm: await loadKernels(),
  reference: referenceKernels(),
};
const kernels = KERNELS.wasm;

/**
 * Runs `body` on a model of the golden folder. Nothing may be left in kernel memory but what the
 * kernels keep for themselves, which a second run does not need again.
 */
async function onModel(
  path: string,
  kernels: Kernels,
  body: (model: ModelGraph) => Promise<void>,
): Promise<void> {
  const checkpoint = await openCheckpoint(`${folder}/${path}`);
  const model = openModel(checkpoint);
  const before = kernels.memory().bytes;
  await body(model);
  const after = kernels.memory().bytes;
  if (after !== before) {
    await body(model);
    assertEquals(kernels.memory().bytes, after, "kernel memory is given back");
  }
  checkpoint.close();
}

for (const name of ["tied", "untied"]) {
  for (const path of [name, `${name}/model.gguf`]) {
    for (const [kind, kernels] of Object.entries(KERNELS)) {
      Deno.test(`logits and text of ${path} on ${kind} kernels equal transformers`, async () => {
        const { ids, logits, generated } = golden(name);
        await onModel(path, kernels, async (graph) => {
          using model = await LanguageModel.load({ model: graph, kernels });
          using all = await model.logits(ids);
          assertLess(largestDifference(all.array, logits), 2e-5);
          const made = model.generate({ prompt: ids.slice(0, 4), tokens: generated.length });
          assertEquals(await collect(made), generated);
        });
      });
    }
  }
}

Deno.test("tokens one by one, in two parts or all at once give the same logits", async () => {
  const { ids, logits } = golden("untied");
  await onModel("untied", kernels, async (graph) => {
    using model = await LanguageModel.load({ model: graph, kernels });
    using cache = model.cache();
    for (const [i, id] of ids.entries()) {
      using step = await model.logits([id], { cache });
      assertLess(largestDifference(step.array, [logits[i]]), 2e-5);
    }
    assertEquals(cache.position, ids.length);
    cache.truncate(5);
    using rest = await model.logits(ids.slice(5), { cache });
    assertLess(largestDifference(rest.array, logits.slice(5)), 2e-5);
    using last = await model.logits(ids, { last: true });
    assertLess(largestDifference(last.array, [logits[ids.length - 1]]), 2e-5);
  });
});

Deno.test("a cache policy that keeps everything changes nothing", async () => {
  const { ids, logits, generated } = golden("tied");
  await onModel("tied", kernels, async (graph) => {
    using model = await LanguageModel.load({ model: graph, kernels });
    using cache = model.cache(plainPolicy);
    const made = model.generate({ prompt: ids.slice(0, 4), tokens: generated.length, cache });
    assertEquals(await collect(made), generated);
    assertEquals(cache.bytes, 3 * 2 * 8 * 4 * (4 + generated.length - 1));
    const windows = [Int32Array.from(ids)];
    using streamed = await StreamedModel.run({
      model: graph,
      kernels,
      windows,
      cache: plainPolicy,
    });
    assertLess(Math.abs(figures(kernels, streamed).nll - negativeLogLikelihood(ids, logits)), 1e-5);
  });
});

/** The figures of the shipped evaluators, and the negative log-likelihood of each prediction. */
function figures(kernels: Kernels, model: StreamedModel, options: ScoreOptions = {}) {
  const nlls: number[] = [];
  const losses: Evaluator = {
    add({ logProbabilities, vocabulary, targets }) {
      const values = logProbabilities.array;
      targets.forEach((id, row) => nlls.push(-values[row * vocabulary + id]));
    },
    result: () => ({}),
  };
  const context = { kernels } as PluginContext<Record<string, never>>;
  const evaluators = [perplexity, klDivergence].map((plugin) => plugin.evaluate!({ context }));
  score(model, [losses, ...evaluators], options);
  const result = Object.assign({}, ...evaluators.map((e) => e.result())) as Record<string, number>;
  return { ...result, nlls } as Record<string, number> & { nlls: number[] };
}

function negativeLogLikelihood(ids: number[], logits: number[][]): number {
  const losses = ids.slice(1).map((id, i) => {
    const total = logits[i].reduce((sum, x) => sum + Math.exp(x), 0);
    return Math.log(total) - logits[i][id];
  });
  return losses.reduce((a, b) => a + b) / losses.length;
}

Deno.test("scores of windows, block by block and some rows at a time", async () => {
  const { ids, logits } = golden("untied");
  await onModel("untied", kernels, async (graph) => {
    const windows = [Int32Array.from(ids), Int32Array.from(ids.slice(0, 7)), Int32Array.of(3)];
    const steps: string[] = [];
    const progress = (done: number, total: number) => steps.push(`${done}/${total}`);
    using model = await StreamedModel.run({ model: graph, kernels, windows, progress });
    assertEquals(steps, ["1/2", "2/2"]);
    const whole = figures(kernels, model);
    assertEquals(whole.tokens, 19 + 6);
    const first = whole.nlls.slice(0, 19).reduce((a, b) => a + b) / 19;
    assertLess(Math.abs(first - negativeLogLikelihood(ids, logits)), 1e-5);
    assertEquals(whole.perplexity, Math.exp(whole.nll));
    for (const rows of [1, 4, 100]) {
      assertEquals(figures(kernels, model, { rows }).nlls, whole.nlls);
    }
    const itself = figures(kernels, model, { reference: model, rows: 5 });
    assertEquals([itself.kl, itself.top1_agreement], [0, 1]);
  });
});

Deno.test("divergence from a reference, and what evaluators are shown", async () => {
  const { ids } = golden("tied");
  await onModel("tied", kernels, async (graph) => {
    const windows = [Int32Array.from(ids)];
    using reference = await StreamedModel.run({ model: graph, kernels, windows });
    using model = await StreamedModel.run({
      model: graph,
      kernels,
      windows,
      async linears({ rows, columns }, tensor) {
        const coarse = (await tensor.read()).map((x) => Math.round(x * 16) / 16);
        const weight = kernels.denseWeight(coarse, rows, columns);
        return {
          bytes: weight.bytes,
          apply(x, tokens) {
            const y = kernels.alloc("f32", tokens * rows);
            kernels.linear({ x, y, tokens, weight });
            return y;
          },
          free: () => weight.free(),
          [Symbol.dispose]: () => weight.free(),
        };
      },
    });
    let kl = 0, seen = 0;
    const evaluator: Evaluator = {
      add({ rows, vocabulary, logProbabilities, reference, targets }) {
        assertEquals([...targets], ids.slice(1 + seen, 1 + seen + rows));
        const q = logProbabilities.array, p = reference!.array;
        assertEquals(q.length, rows * vocabulary);
        for (let i = 0; i < q.length; i++) kl += Math.exp(p[i]) * (p[i] - q[i]);
        seen += rows;
      },
      result: () => ({}),
    };
    score(model, [evaluator], { reference, rows: 6 });
    const result = figures(kernels, model, { reference, rows: 6 });
    assertEquals(seen, result.tokens);
    assert(result.kl > 1e-4 && result.top1_agreement < 1);
    assertLess(Math.abs(result.kl - kl / seen), 1e-5);
    using other = await StreamedModel.run({
      model: graph,
      kernels,
      windows: [windows[0].slice(1)],
    });
    assertThrows(
      () => score(model, [], { reference: other }),
      LowbitError,
      "was run on other windows",
    );
    const long = [new Int32Array(49)];
    const run = () => StreamedModel.run({ model: graph, kernels, windows: long });
    await assertRejects(run, LowbitError, "windows: one has 49 tokens; 1 to 48 are possible");
    using short = await StreamedModel.run({ model: graph, kernels, windows: [Int32Array.of(1)] });
    assertThrows(() => score(short, []), LowbitError, "need at least two tokens");
  });
});

Deno.test("generation stops, samples and gives its memory back when left early", async () => {
  const { ids, generated } = golden("untied");
  const prompt = ids.slice(0, 4);
  await onModel("untied", kernels, async (graph) => {
    using model = await LanguageModel.load({ model: graph, kernels });
    const held = kernels.memory().bytes;
    const end = generated.findIndex((id, i) => i > 0 && !generated.slice(0, i).includes(id));
    const made = model.generate({ prompt, tokens: generated.length, stop: [generated[end]] });
    assertEquals(await collect(made), generated.slice(0, end));
    for await (const id of model.generate({ prompt, tokens: 50 })) {
      assertEquals(id, generated[0]);
      break;
    }
    assertEquals(kernels.memory().bytes, held);
    const rng: Rng = { uniform: () => 0, uint32: () => 0, normal: () => 0 };
    assertEquals(await collect(model.generate({ prompt, tokens: 2, temperature: 1, rng })), [0, 0]);
    assertEquals(await collect(model.generate({ prompt, tokens: 0 })), []);
  });
});

Deno.test("a long prompt goes through in parts", async () => {
  await onModel("tied", kernels, async (graph) => {
    const hyperparameters = { ...graph.hyperparameters, context: 2000 };
    using model = await LanguageModel.load({ model: { ...graph, hyperparameters }, kernels });
    const prompt = Array.from({ length: 1100 }, (_, i) => i * i % 60);
    using whole = await model.logits(prompt, { last: true });
    const best = greedy(whole.array);
    assertEquals(await collect(model.generate({ prompt, tokens: 1 })), [best]);
  });
});

Deno.test("what cannot be generated is refused", async () => {
  await onModel("tied", kernels, async (graph) => {
    using model = await LanguageModel.load({ model: graph, kernels });
    const cases: [Parameters<LanguageModel["generate"]>[0], string, string][] = [
      [
        { prompt: [1, 2], tokens: 47 },
        "LIMIT",
        "2 tokens and 47 more are over 48; ask for at most 46",
      ],
      [{ prompt: [], tokens: 1 }, "SHAPE", "there are no tokens"],
      [{ prompt: [60], tokens: 1 }, "CONFLICT", "token id 60 is outside the 60 tokens"],
      [{ prompt: [0.5], tokens: 1 }, "CONFLICT", "token id 0.5 is outside"],
      [{ prompt: [1], tokens: 1, temperature: 1 }, "USAGE", "temperature: must be 0, or positive"],
      [{ prompt: [1], tokens: 1, temperature: NaN }, "USAGE", "temperature"],
    ];
    for (const [args, code, message] of cases) {
      const made = () => collect(model.generate(args));
      assertEquals((await assertRejects(made, LowbitError, message)).code, code);
    }
  });
});

Deno.test("metadata made from config.json equals what gguf-py wrote", async () => {
  for (const name of ["tied", "untied"]) {
    const source = await openCheckpoint(`${folder}/${name}`);
    const written = await openCheckpoint(`${folder}/${name}/model.gguf`);
    const made = ggufMetadata(openModel(source));
    for (const [key, value] of written.gguf!) assertEquals(made.get(key), value, key);
    assertEquals(made.size, written.gguf!.size);
    const config = huggingfaceConfig(openModel(written));
    const again = openModel({ ...source, config });
    assertEquals(again.hyperparameters, openModel(source).hyperparameters);
    source.close();
    written.close();
  }
});

Deno.test("rows of query and key go into a GGUF file as gguf-py wrote them", async () => {
  const source = await openCheckpoint(`${folder}/tied`);
  const written = await openCheckpoint(`${folder}/tied/model.gguf`);
  const model = openModel(source);
  for (const parameter of model.parameters) {
    const graph = parameter.views.gguf?.order?.();
    const order = graph && inverseRows(graph);
    const values = await parameterTensor(model, parameter.id).read();
    const stored = await written.tensors.get(parameter.names.gguf)!.read();
    assertEquals(order ? permuteRows(values, order) : values, stored, parameter.id);
  }
  source.close();
  written.close();
});

const embedded = `${import.meta.dirname}/../embedded`;

/** What transformers computed on the embedded model (tools/embedded/golden.py). */
interface EmbeddedGolden {
  evaluation: { tokens: number; first_ids: number[] };
  perplexity: { window: number; windows: number; predictions: number; mean_nll: number };
  sequences: { starts: number[]; length: number };
  greedy: { prompt: string; prompt_ids: number[]; ids: number[]; text: string }[];
  tokenizer: { text: string; ids: number[] }[];
  decode: { ids: number[]; skip_special_tokens: boolean; text: string }[];
}

const embeddedGolden: EmbeddedGolden = JSON.parse(
  Deno.readTextFileSync(`${import.meta.dirname}/golden/embedded/golden.json`),
);

async function embeddedTokenizer() {
  const checkpoint = await openCheckpoint(`${embedded}/model`);
  const tokenizer = createTokenizer(tokenizerFiles(checkpoint)!);
  checkpoint.close();
  return tokenizer;
}

Deno.test("the tokenizer of the embedded model equals the tokenizers library", async () => {
  const tokenizer = await embeddedTokenizer();
  assertEquals([tokenizer.vocabulary, tokenizer.bos, tokenizer.eos], [2048, 0, 0]);
  for (const { text, ids } of embeddedGolden.tokenizer) {
    assertEquals([...tokenizer.encode(text)], ids, JSON.stringify(text));
  }
  for (const { ids, skip_special_tokens, text } of embeddedGolden.decode) {
    if (!skip_special_tokens) assertEquals(tokenizer.decode(ids), text);
  }
  const { tokens, first_ids } = embeddedGolden.evaluation;
  const all = tokenizer.encode(await Deno.readTextFile(`${embedded}/evaluation.txt`));
  assertEquals(all.length, tokens);
  assertEquals([...all.slice(0, first_ids.length)], first_ids);
});

Deno.test("perplexity, logits and text of the embedded model equal transformers", async () => {
  const tokenizer = await embeddedTokenizer();
  const all = tokenizer.encode(await Deno.readTextFile(`${embedded}/evaluation.txt`));
  const stored = await openCheckpoint(`${import.meta.dirname}/golden/embedded/logits.safetensors`);
  const expected = await stored.tensors.get("logits_last")!.read();
  stored.close();
  const { window, windows: count, predictions, mean_nll } = embeddedGolden.perplexity;
  const windows = Array.from(
    { length: count },
    (_, i) => all.slice(i * window, (i + 1) * window),
  );
  await onModel("../../../embedded/model", kernels, async (graph) => {
    using streamed = await StreamedModel.run({ model: graph, kernels, windows });
    const { tokens, nll } = figures(kernels, streamed);
    assertEquals(tokens, predictions);
    assertLess(Math.abs(nll - mean_nll), 1e-5);
    using model = await LanguageModel.load({ model: graph, kernels });
    const { starts, length } = embeddedGolden.sequences;
    for (const [i, start] of starts.entries()) {
      using logits = await model.logits(all.slice(start, start + length));
      const last = logits.array.slice(-4 * 2048);
      const rows = [...expected.subarray(i * 4 * 2048, (i + 1) * 4 * 2048)];
      assertLess(largestDifference(last, [rows]), 1e-4);
    }
    for (const { prompt, prompt_ids, ids, text } of embeddedGolden.greedy) {
      assertEquals([...tokenizer.encode(prompt)], prompt_ids);
      const made = await collect(model.generate({ prompt: prompt_ids, tokens: ids.length }));
      assertEquals(made, ids);
      assertEquals(tokenizer.decode(made), text);
    }
  });
});
