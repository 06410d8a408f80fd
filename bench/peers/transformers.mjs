// transformers.js on onnxruntime-web, f32, one thread; prints tokens a processor second.
//   cd PACKAGES && deno run -A - PACKAGES MODEL PROMPT TOKENS < transformers.mjs
// PACKAGES has node_modules with @huggingface/transformers; MODEL is made by onnx_checkpoint.py.
import process from "node:process";
const [packages, model, prompt, tokens] = process.argv.slice(2);
const library = `${packages}/node_modules/@huggingface/transformers/dist/transformers.web.js`;
const T = await import(`file://${library}`);
const glue = `file://${packages}/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded`;
const { wasm } = T.env.backends.onnx;
Object.assign(wasm, { numThreads: 1, proxy: false });
wasm.wasmPaths = { mjs: `${glue}.mjs`, wasm: `${glue}.wasm` };
// the library imports its glue from a blob, which Deno does not allow packages
const create = URL.createObjectURL.bind(URL);
URL.createObjectURL = (blob) => /javascript/.test(blob.type) ? `${glue}.mjs` : create(blob);
const local = { allowRemoteModels: false, allowLocalModels: true };
Object.assign(T.env, { ...local, useBrowserCache: false, useFSCache: false });
T.env.localModelPath = `file://${model.slice(0, model.lastIndexOf("/") + 1)}`;
const language = await T.AutoModelForCausalLM.from_pretrained(
  model.slice(model.lastIndexOf("/") + 1),
  { dtype: "fp32", device: "wasm", session_options: { intraOpNumThreads: 1 } },
);
const seconds = () => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;
const [prompts, decodes] = [[], []];
for (let repeat = 0; repeat < 3; repeat++) {
  const ids = BigInt64Array.from({ length: +prompt }, (_, i) => BigInt(1000 + 37 * i));
  const times = [];
  const started = seconds();
  await language.generate({
    input_ids: new T.Tensor("int64", ids, [1, +prompt]),
    attention_mask: new T.Tensor("int64", new BigInt64Array(+prompt).fill(1n), [1, +prompt]),
    max_new_tokens: +tokens + 1,
    min_new_tokens: +tokens + 1,
    do_sample: false,
    streamer: { put: () => times.push(seconds()), end() {} },
  });
  if (repeat === 0) continue; // warms up
  prompts.push(+prompt / (times[1] - started)); // the prompt itself comes first
  decodes.push((times.length - 2) / (times.at(-1) - times[1]));
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
console.log(JSON.stringify({ prompt: median(prompts), decode: median(decodes) }));
process.exit(0);
