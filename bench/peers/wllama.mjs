// wllama, one thread; prints tokens a processor second.
//   deno run -A wllama.mjs PACKAGES MODEL.gguf PROMPT TOKENS
// PACKAGES has node_modules with @wllama/wllama.
import fs from "node:fs";
import process from "node:process";
const [packages, model, prompt, tokens] = process.argv.slice(2);
const root = `${packages}/node_modules/@wllama/wllama/esm`;
globalThis.self ??= globalThis;
// its workers take Deno for Node, and read files in a way that Deno lacks
const create = URL.createObjectURL.bind(URL);
const hide = 'Object.defineProperty(globalThis, "process", { value: undefined });\n';
URL.createObjectURL = (blob) => create(new Blob([hide, blob], { type: "text/javascript" }));
const wasm = new Blob([fs.readFileSync(`${root}/wasm/wllama.wasm`)], { type: "application/wasm" });
const { Wllama } = await import(`file://${root}/index.js`);
const quiet = { debug() {}, log() {}, warn() {}, error: console.error };
const options = { cacheManager: {}, modelManager: {}, suppressNativeLog: true, logger: quiet };
const engine = new Wllama({ default: create(wasm) }, options);
const settings = { n_threads: 1, n_ctx: 1024, n_gpu_layers: 0, n_parallel: 1, warmup: true };
await engine.loadModel([new Blob([fs.readFileSync(model)])], settings);
const [prompts, decodes] = [[], []];
for (let repeat = 0; repeat < 4; repeat++) {
  // another first word each time, so that nothing is found in its cache of prompts
  const words = Array.from({ length: +prompt - 8 }, (_, i) => ["the", "cat", "sat", "on"][i % 4]);
  const { timings } = await engine.createCompletion({
    prompt: `${repeat} ${words.join(" ")}`,
    max_tokens: +tokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
    stream: false,
  });
  if (repeat === 0) continue; // warms up
  prompts.push(timings.prompt_per_second);
  decodes.push(timings.predicted_per_second);
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
console.log(JSON.stringify({ prompt: median(prompts), decode: median(decodes) }));
process.exit(0);
