/**
 * Speed and memory of whole jobs: `deno run -A bench/engine.ts [--json] [--model PATH]`.
 *
 * Prompt and decode speed of the shipped model in full precision and with packed 4-bit weights; time
 * and peak memory of quantising it, and with `--model` another checkpoint, by the command line in a
 * process of its own. Medians of repeats, wall-clock time.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { createWorkbench, embeddedPath } from "../mod.ts";

const args = parseArgs(Deno.args, { boolean: ["json"], string: ["model"] });
const REPEATS = 5;
const PROMPT = 128;
const DECODE = 64;

function report(name: string, shape: string, threads: number, value: number, unit: string): void {
  const line = { case: name, shape, threads, value: Number(value.toPrecision(4)), unit };
  console.log(
    args.json
      ? JSON.stringify(line)
      : `${name}  ${shape}  ${threads} threads  ${line.value} ${unit}`,
  );
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

const folder = await Deno.makeTempDir();
for (const threads of [1, 2]) {
  using lowbit = await createWorkbench({ threads });
  const model = await lowbit.open("embedded");
  const out = `${folder}/w4-${threads}`;
  await lowbit.quantize({ model, recipe: "rtn-w4g64", out });
  const packed = await lowbit.open(out);
  const text = await Deno.readTextFile(embeddedPath("evaluation.txt"));
  const prompt = [...lowbit.tokenizer(model).encode(text.slice(0, 4000))].slice(0, PROMPT);
  for (const [name, checkpoint] of [["f32", model], ["int4 g64", packed]] as const) {
    using language = await lowbit.load(checkpoint);
    const prompts: number[] = [];
    const decodes: number[] = [];
    for (let repeat = 0; repeat <= REPEATS; repeat++) {
      const started = performance.now();
      let first = 0;
      let made = 0;
      for await (const _ of language.generate({ prompt, tokens: DECODE })) {
        if (made++ === 0) first = performance.now();
      }
      if (repeat === 0) continue; // warms up
      prompts.push(PROMPT / ((first - started) / 1000));
      decodes.push((made - 1) / ((performance.now() - first) / 1000));
    }
    report(`prompt, ${name}`, `embedded, ${PROMPT} tokens`, threads, median(prompts), "tokens/s");
    report(`decode, ${name}`, "embedded", threads, median(decodes), "tokens/s");
  }
  packed.close();
  model.close();
}

const models = [["embedded", "embedded"], ...args.model ? [[args.model as string, "model"]] : []];
for (const [path, name] of models) {
  for (const recipe of ["rtn-w4g64", "gptq-w4g128"]) {
    const shape = name === "model" ? path.split("/").at(-1)! : name;
    const { stdout, success, stderr } = await new Deno.Command("deno", {
      args: [
        ...["run", "--allow-read", "--allow-write", "cli.ts", "quantize", path],
        ...[`${folder}/${name}-${recipe}`, "--recipe", recipe, "--json", "--quiet"],
      ],
      cwd: new URL("..", import.meta.url),
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    const result = JSON.parse(new TextDecoder().decode(stdout));
    report(`quantise, ${recipe}`, shape, 2, result.seconds, "s");
    report(`peak memory, ${recipe}`, shape, 2, result.peak_rss_bytes / 2 ** 20, "MiB");
  }
}
await Deno.remove(folder, { recursive: true });
