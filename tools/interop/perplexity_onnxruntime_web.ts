/**
 * Perplexity of a decoder that lowbit wrote for ONNX, by onnxruntime-web (its WebAssembly backend).
 *
 * ```sh
 * deno run -A --no-lock tools/interop/perplexity_onnxruntime_web.ts FOLDER IDS.json
 * ```
 *
 * Prints one JSON document like the Python scripts beside it; it has no tokenizer of its own.
 *
 * @module
 */

const VERSION = "1.30.0";

/** What is used of a tensor of the library. */
interface Value {
  data: Float32Array;
  dims: readonly number[];
}

/** What is used of the library. */
interface OnnxRuntime {
  env: { wasm: { numThreads: number }; logLevel: string };
  Tensor: new (type: string, data: Float32Array | BigInt64Array, shape: number[]) => Value;
  InferenceSession: {
    create(model: Uint8Array, options: unknown): Promise<{
      run(feeds: Record<string, Value>, fetches: string[]): Promise<Record<string, Value>>;
    }>;
  };
}

// As in bench/onnxruntime.ts: a literal name would put 139 MB into everyone's lock file.
const specifier = `npm:onnxruntime-web@${VERSION}/wasm`;
const ort = await import(specifier) as OnnxRuntime;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const [folder, idsFile] = Deno.args;
const config = JSON.parse(await Deno.readTextFile(`${folder}/config.json`));
const heads = config.num_key_value_heads ?? config.num_attention_heads;
const size = config.head_dim ?? config.hidden_size / config.num_attention_heads;

const files = [...Deno.readDirSync(`${folder}/onnx`)].map(({ name }) => name);
const model = files.find((name) => name.endsWith(".onnx"))!;
const externalData = await Promise.all(
  files.filter((name) => name !== model)
    .map(async (path) => ({ path, data: await Deno.readFile(`${folder}/onnx/${path}`) })),
);
const session = await ort.InferenceSession.create(await Deno.readFile(`${folder}/onnx/${model}`), {
  executionProviders: ["wasm"],
  externalData,
});

/** Logits of a window, a row an id. */
async function logits(ids: readonly number[]): Promise<Value> {
  const integers = (values: readonly number[]) =>
    new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const feeds: Record<string, Value> = {
    input_ids: integers(ids),
    attention_mask: integers(ids.map(() => 1)),
    position_ids: integers(ids.map((_, i) => i)),
  };
  for (let i = 0; i < config.num_hidden_layers; i++) {
    for (const part of ["key", "value"]) {
      const none = new ort.Tensor("float32", new Float32Array(0), [1, heads, 0, size]);
      feeds[`past_key_values.${i}.${part}`] = none;
    }
  }
  return (await session.run(feeds, ["logits"])).logits;
}

const windows: number[][] = JSON.parse(await Deno.readTextFile(idsFile));
let [total, count] = [0, 0];
for (const ids of windows) {
  const { data, dims: [, , vocabulary] } = await logits(ids);
  for (let i = 0; i + 1 < ids.length; i++) {
    const row = data.subarray(i * vocabulary, (i + 1) * vocabulary);
    let [top, sum] = [-Infinity, 0];
    for (const value of row) top = Math.max(top, value);
    for (const value of row) sum += Math.exp(value - top);
    total += top + Math.log(sum) - row[ids[i + 1]];
    count++;
  }
}
console.log(JSON.stringify({
  perplexity: Math.exp(total / count),
  versions: { "onnxruntime-web": VERSION },
}));
