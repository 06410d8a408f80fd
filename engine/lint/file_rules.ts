/**
 * Rules about files, settings and which tensors there are.
 *
 * @module
 */

import type { Finding, LintInput, Rule } from "./rule.ts";

/** Names of tensors that belong to packed weights of a dialect. */
const PACKED = /\.(qweight|weight_packed|W_q|absmax|SCB|weight_scale_inv|codes|B|_data)$/;

/** Tensors that programs make anew: not part of the parameters of a graph, and harmless. */
const BUFFERS = /(rotary_emb\.inv_freq|\.attn\.bias|\.masked_bias|position_ids|[kv]_scale)$/;

/** What kernels need of the columns and rows of packed weights. */
const KERNEL_COLUMNS = 128, KERNEL_ROWS = 64;

function* unused({ checkpoint, model, modelError }: LintInput): Iterable<Finding> {
  // A graph is refused where there is more than it has.
  const { code, field, problem } = modelError ?? {};
  if (code === "UNSUPPORTED" && field && checkpoint?.tensors.has(field)) {
    yield { where: field, problem: problem! };
  }
  if (!checkpoint || !model) return;
  const known = new Set(model.parameters.map(({ names }) => names[checkpoint.naming]));
  const tied = model.tied.size > 0;
  for (const name of checkpoint.tensors.keys()) {
    if (known.has(name) || BUFFERS.test(name)) continue;
    if (tied && /^(lm_head|output)\./.test(name)) continue;
    yield { where: name, problem: `is no parameter of ${model.architecture.id}` };
  }
}

/** The rules about files and settings. */
export const FILE_RULES: readonly Rule[] = [
  {
    code: "missing-shard",
    severity: "error",
    summary: "the index names a file that is not there",
    advice: "download the whole checkpoint; some programs load it with weights uninitialised",
    bugs: [{
      what: "an incomplete download served with random weights",
      url: "https://github.com/sgl-project/sglang/pull/32279",
    }],
    *check({ index, files }) {
      const names = new Set(files.map(({ name }) => name));
      for (const shard of new Set(index?.values())) {
        if (!names.has(shard)) yield { where: shard, problem: "is missing" };
      }
    },
  },
  {
    code: "index-mismatch",
    severity: "error",
    summary: "a tensor is not in the file that the index says",
    advice: "make the index again from the headers of the files",
    bugs: [{
      what: "an index entry whose tensor is not in its shard",
      url: "https://github.com/huggingface/huggingface_hub/pull/4728",
    }],
    *check({ index, tensors, files }) {
      const names = new Set(files.filter(({ error }) => !error).map(({ name }) => name));
      for (const [name, shard] of index ?? []) {
        if (!names.has(shard) || tensors.get(name)?.file === shard) continue;
        yield { where: name, problem: `is not in ${shard}` };
      }
    },
  },
  {
    code: "file-size",
    severity: "error",
    summary: "a file is shorter or longer than its header says",
    advice: "the file is damaged or incomplete; download it again",
    bugs: [
      {
        what: "a cut download fails with MetadataIncompleteBuffer",
        url: "https://github.com/lyogavin/airllm/issues/137",
      },
      {
        what: "bytes behind the last tensor",
        url: "https://github.com/Comfy-Org/ComfyUI/issues/15602",
      },
    ],
    *check({ files, openError }) {
      for (const { name, error } of files) {
        if (error) yield { where: name, problem: error.problem };
      }
      if (openError?.code === "TRUNCATED" && !files.some(({ error }) => error)) {
        yield { where: openError.file ?? "file", problem: openError.problem };
      }
    },
  },
  {
    code: "tied-embedding",
    severity: "warning",
    summary: "the settings tie the head to the embedding, and the head has tensors of its own",
    advice: "programs differ in which one they use; remove the tensors or set the flag to false",
    bugs: [
      {
        what: "a redundant lm_head.weight in tied checkpoints",
        url: "https://github.com/vllm-project/vllm/pull/3344",
      },
      {
        what: "scales of a tied head that nothing takes",
        url: "https://github.com/ml-explore/mlx-swift-lm/pull/490",
      },
    ],
    *check({ config, tensors }) {
      if (config.tie_word_embeddings !== true) return;
      for (const name of tensors.keys()) {
        if (/^lm_head\./.test(name)) {
          yield { where: name, problem: "is there, but tie_word_embeddings is true" };
        }
      }
    },
  },
  {
    code: "divisibility",
    severity: "warning",
    summary: "a packed weight has rows or columns that common kernels cannot take",
    advice: "Marlin kernels need columns in 128 and rows in 64; keep the layer in full precision",
    bugs: [
      {
        what: "10944 columns are not divisible by min_thread_k = 128",
        url: "https://github.com/vllm-project/vllm/issues/9913",
      },
      {
        what: "7392 columns a rank are not divisible by 128",
        url: "https://github.com/vllm-project/llm-compressor/issues/57",
      },
    ],
    *check({ checkpoint }) {
      if (!checkpoint || !["gptq", "awq", "compressed-tensors"].includes(checkpoint.kind)) return;
      for (const { name, shape: [rows, columns], storage } of checkpoint.tensors.values()) {
        if (storage.kind !== "coded" || storage.layout.id === "bytes") continue;
        const bad = columns % KERNEL_COLUMNS !== 0 || rows % KERNEL_ROWS !== 0;
        if (bad) yield { where: name, problem: `is ${rows} x ${columns}` };
      }
    },
  },
  {
    code: "config-mismatch",
    severity: "error",
    summary: "the settings contradict the tensors",
    advice: "correct config.json: bits, group_size and format must be those of the tensors",
    bugs: [
      {
        what: "scales of another group size than the settings say",
        url: "https://github.com/ml-explore/mlx-swift-examples/issues/178",
      },
      {
        what: "scales of another shape than the model expects",
        url: "https://github.com/qwopqwop200/GPTQ-for-LLaMa/issues/62",
      },
    ],
    *check({ openError, modelError, checkpoint, quantization, tensors, files }) {
      const broken = files.some(({ error }) => error);
      const told = ["MALFORMED", "SHAPE", "SCHEMA"];
      if (openError && !broken && told.includes(openError.code)) {
        yield { where: openError.field ?? "config.json", problem: openError.problem };
      }
      if (modelError?.code === "SHAPE") {
        yield { where: modelError.field ?? "config.json", problem: modelError.problem };
      }
      const packed = [...tensors.keys()].some((name) => PACKED.test(name));
      if (quantization.quant_method && !packed && checkpoint && !codedIn(checkpoint)) {
        yield { where: "quantization_config", problem: "is there, but no tensor is packed" };
      }
      if (openError?.code === "UNSUPPORTED" && packed && !quantization.quant_method) {
        yield { where: openError.field ?? "config.json", problem: openError.problem };
      }
    },
  },
  {
    code: "missing-tensor",
    severity: "error",
    summary: "a parameter of the model, or a part of a packed weight, is not there",
    advice: "programs leave it as it was initialised; export the checkpoint again",
    bugs: [{
      what: "weights newly initialised on loading a GPTQ checkpoint",
      url: "https://github.com/QwenLM/Qwen3/issues/930",
    }],
    *check({ modelError, openError, files, index }) {
      const names = new Set(files.map(({ name }) => name));
      const shards = [...index?.values() ?? []].every((shard) => names.has(shard));
      for (const error of [openError, modelError]) {
        if (error?.code !== "NOT_FOUND" || !shards || files.length === 0) continue;
        yield { where: error.field ?? "model", problem: error.problem };
      }
    },
  },
  {
    code: "unused-tensor",
    severity: "warning",
    summary: "a tensor is no part of the model",
    advice: "programs ignore it, so that what it held is lost; look why it is there",
    bugs: [
      {
        what: "weights that are not used on loading",
        url: "https://github.com/QwenLM/Qwen3/issues/714",
      },
      {
        what: "a layer saved plainly that the model expects packed",
        url: "https://github.com/ModelCloud/GPTQModel/issues/2359",
      },
    ],
    check: unused,
  },
  {
    code: "unreadable",
    severity: "error",
    summary: "the checkpoint cannot be opened",
    advice: "see the problem; nothing else could be looked at",
    bugs: [{
      what: "a header that is no header",
      url: "https://github.com/datalab-to/marker/issues/970",
    }],
    *check({ openError, files, index, tensors, quantization }) {
      if (!openError || files.some(({ error }) => error)) return;
      const names = new Set(files.map(({ name }) => name));
      if ([...index?.values() ?? []].some((shard) => !names.has(shard))) return;
      const packed = [...tensors.keys()].some((name) => PACKED.test(name));
      const told = ["TRUNCATED", "MALFORMED", "SHAPE", "SCHEMA"].includes(openError.code) ||
        (openError.code === "UNSUPPORTED" && packed && !quantization.quant_method) ||
        (openError.code === "NOT_FOUND" && files.length > 0);
      if (!told) {
        yield { where: openError.field ?? openError.file ?? "", problem: openError.problem };
      }
    },
  },
];

function codedIn({ tensors }: NonNullable<LintInput["checkpoint"]>): boolean {
  return [...tensors.values()].some(({ storage }) => storage.kind !== "plain");
}
