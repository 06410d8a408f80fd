/**
 * A whole language model beside its peers, one thread: tokens a second of a prompt and of decoding.
 *
 * Ours multiplies with int8 activations and native llama.cpp does too, both from the same file, which
 * is made Q4_0 first where Python is there. A peer that fails counts as not installed. Peers run in processes of their own, one after the other.
 *
 * @module
 */

import { createWorkbench } from "../mod.ts";
import { median, processorSeconds } from "./measure.ts";
import { type Line, missingLine, ratioLine } from "./report.ts";

const PROMPT = 128;
const DECODE = 64;
const REPEATS = 5;

/** Tokens a second. */
interface Speed {
  prompt: number;
  decode: number;
}

/** Where the model and the peers are. */
export interface LanguageOptions {
  /** A GGUF file. */
  model: string;
  /** A Python that has the packages of `peers/requirements.txt`. */
  python: string;
  /** A folder with `node_modules` of the peers, and `model` made by `peers/onnx_checkpoint.py`. */
  packages?: string;
}

async function ours(model: string): Promise<Speed> {
  using lowbit = await createWorkbench({ threads: 1 });
  const checkpoint = await lowbit.open(model);
  using language = await lowbit.load(checkpoint, { activations: "int8" });
  const prompt = Array.from({ length: PROMPT }, (_, i) => 1000 + 37 * i);
  const [prompts, decodes]: [number[], number[]] = [[], []];
  for (let repeat = 0; repeat <= REPEATS; repeat++) {
    const started = processorSeconds();
    let [first, made] = [0, 0];
    for await (const _ of language.generate({ prompt, tokens: DECODE })) {
      if (made++ === 0) first = processorSeconds();
    }
    if (repeat === 0) continue; // warms up
    prompts.push(PROMPT / (first - started));
    decodes.push((made - 1) / (processorSeconds() - first));
  }
  checkpoint.close();
  return { prompt: median(prompts), decode: median(decodes) };
}

/** What a program prints last, or nothing if it cannot run. */
async function ask(
  program: string,
  args: string[],
  { script, cwd }: { script?: string; cwd?: string } = {},
): Promise<Speed | undefined> {
  try {
    const options = { args, cwd, stdin: "piped", stdout: "piped", stderr: "null" } as const;
    const child = new Deno.Command(program, options).spawn();
    const input = child.stdin.getWriter();
    if (script) await input.write(await Deno.readFile(script));
    await input.close();
    const { success, stdout } = await child.output();
    if (success) return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
  } catch {
    // not installed
  }
  return undefined;
}

/** Rows of the model; those of a peer that is not there say so. */
export async function compareLanguage(options: LanguageOptions): Promise<Line[]> {
  const folder = await Deno.makeTempDir();
  const script = (name: string) => new URL(`peers/${name}`, import.meta.url).pathname;
  const sizes = [String(PROMPT), String(DECODE)];
  const quantized = `${folder}/model-q4_0.gguf`;
  const command = [script("language.py"), "quantize", options.model, quantized];
  await ask(options.python, command);
  const made = await Deno.stat(quantized).then(() => true, () => false);
  const model = made ? quantized : options.model;
  const own = await ours(model);
  const javascript = (name: string, file: string) =>
    options.packages === undefined
      ? undefined
      // from standard input, so that packages are those of the folder
      : ask(Deno.execPath(), ["run", "-A", "-", options.packages, file, ...sizes], {
        script: script(name),
        cwd: options.packages,
      });
  const native = await ask(options.python, [script("language.py"), "run", model, ...sizes]);
  const web = await javascript("transformers.mjs", `${options.packages}/model`);
  const wllama = await javascript("wllama.mjs", model);
  await Deno.remove(folder, { recursive: true });
  const PEERS = [
    { name: "transformers.js f32", speed: web, must: { prompt: 2.4, decode: 3 } },
    { name: "wllama", speed: wllama, must: { decode: 6 } },
    { name: `native llama.cpp${made ? " Q4_0" : ""}`, speed: native, goal: 0.7 },
  ] as { name: string; speed?: Speed; must?: Partial<Speed>; goal?: number }[];
  return (["decode", "prompt"] as const).flatMap((kind) =>
    PEERS.filter(({ must, goal }) => goal !== undefined || must?.[kind] !== undefined)
      .map(({ name, speed, must, goal }) => {
        const line = {
          case: `language model, ${kind}, int8 activations, tokens/s`,
          shape: kind === "prompt" ? `${PROMPT} tokens` : `after ${PROMPT} tokens`,
          ours: own[kind],
          peerName: name,
          must: must?.[kind],
          goal,
        };
        return speed ? ratioLine({ ...line, peer: speed[kind] }) : missingLine(line);
      })
  );
}
