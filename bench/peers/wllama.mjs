// wllama, one thread; prints tokens a processor second.
//   cd PACKAGES && deno run -A - PACKAGES MODEL.gguf PROMPT TOKENS < wllama.mjs
// PACKAGES has node_modules with @wllama/wllama.
import fs from "node:fs";
import process from "node:process";
const [packages, model, prompt, tokens] = process.argv.slice(2);
const root = `${packages}/node_modules/@wllama/wllama/esm`;
globalThis.self ??= globalThis;
// it makes addresses absolute by that of the page
const location = { value: new URL(`file://${packages}/`), configurable: true };
if (!globalThis.location) Object.defineProperty(globalThis, "location", location);
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
const seconds = () => (({ user, system }) => (user + system) / 1e6)(process.cpuUsage());
const [prompts, decodes] = [[], []];
for (let repeat = 0; repeat < 3; repeat++) {
  // another first word each time, so that nothing is found in its cache of prompts
  const words = Array.from({ length: +prompt - 8 }, (_, i) => ["the", "cat", "sat", "on"][i % 4]);
  const before = seconds();
  const { timings } = await engine.createCompletion({
    prompt: `${repeat} ${words.join(" ")}`,
    max_tokens: +tokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
    stream: false,
  });
  if (repeat === 0) continue; // warms up
  // it has the clock alone: processor time is divided in the same way
  const { prompt_ms, predicted_ms, prompt_n, predicted_n } = timings;
  const share = (seconds() - before) / (prompt_ms + predicted_ms);
  prompts.push(prompt_n / (prompt_ms * share));
  decodes.push(predicted_n / (predicted_ms * share));
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
console.log(JSON.stringify({ prompt: median(prompts), decode: median(decodes) }));
process.exit(0);
