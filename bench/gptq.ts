/**
 * Whole runs beside another implementation: GPTQ beside torch, and RTN beside its own encoder.
 *
 * `deno run -A bench/gptq.ts MODEL.gguf [--python PROGRAM] [--threads 1,2] [--samples 16]`. Both read
 * the same windows of 512 tokens. Seconds are of the clock and of the processor; on a busy machine
 * the second is the one to compare. `python` needs the packages of bench/peers/requirements.txt and
 * transformers; without it only our own figures are printed.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { memoryOutput } from "../formats/containers/output.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { createWorkbench } from "../workbench.ts";
import { clockSeconds, processorSeconds } from "./measure.ts";

const args = parseArgs(Deno.args, { string: ["_", "python", "threads", "samples"] });
const path = String(args._[0]);
const recipe = {
  ...presetRecipe("gptq-w4g64"),
  calibration: { samples: Number(args.samples ?? 16), length: 512 },
};

interface Times {
  seconds: number;
  processor: number;
}

async function timed(work: () => Promise<unknown>): Promise<Times> {
  const [clock, processor] = [clockSeconds(), processorSeconds()];
  await work();
  return { seconds: clockSeconds() - clock, processor: processorSeconds() - processor };
}

function print(what: string, { seconds, processor }: Times, more = ""): void {
  console.log(
    `${what.padEnd(24)} ${seconds.toFixed(1).padStart(8)} s ${
      processor.toFixed(1).padStart(8)
    } s ` +
      `of the processor ${more}`,
  );
}

const python = args.python as string | undefined;
for (const threads of String(args.threads ?? "1,2").split(",").map(Number)) {
  using lowbit = await createWorkbench({ threads });
  const model = await lowbit.open(path);
  const calibration = await lowbit.calibration(model, recipe);
  let peer: Times | undefined;
  if (python) {
    const ids = await Deno.makeTempFile({ suffix: ".json" });
    await Deno.writeTextFile(ids, JSON.stringify(calibration.map((window) => [...window])));
    const script = new URL("peers/gptq.py", import.meta.url).pathname;
    const { code, stdout } = await new Deno.Command(python, {
      args: [script, path, ids, String(threads)],
      stderr: "inherit",
    }).output();
    await Deno.remove(ids);
    if (code !== 0) throw new Error(`${script} failed`);
    peer = JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
    print(`torch, ${threads} threads`, peer!);
  }
  const ours = await timed(() =>
    lowbit.quantize({ model, recipe, calibration, out: memoryOutput() })
  );
  const ratio = peer
    ? `${(ours.seconds / peer.seconds).toFixed(2)} x the clock, ` +
      `${(ours.processor / peer.processor).toFixed(2)} x the processor of torch`
    : "";
  print(`lowbit, ${threads} threads`, ours, ratio);
  model.close();
}

// Rounding to nearest: all of a run, beside the encoder alone on the same weights.
using lowbit = await createWorkbench({ threads: 1 });
const model = await lowbit.open(path);
const rtn = presetRecipe("rtn-w4g64");
const run = await timed(() => lowbit.quantize({ model, recipe: rtn, out: memoryOutput() }));
const codec = lowbit.codecs.get(lowbit.codecs.resolve(rtn.assign[0].weight!));
let elements = 0;
const encode: Times = { seconds: 0, processor: 0 };
for (const [name, tensor] of model.tensors) {
  if (tensor.shape.length !== 2 || !/blk|layers/.test(name)) continue;
  const weight = await tensor.read();
  using x = lowbit.kernels.upload(weight);
  const tiling = codec.tiling(tensor.shape[0], tensor.shape[1]);
  const { seconds, processor } = await timed(() => {
    codec.encode(x, tiling, codec.parameters(x, tiling)).free();
    return Promise.resolve();
  });
  encode.seconds += seconds;
  encode.processor += processor;
  elements += weight.length;
}
print("rtn, the run", run, `${(elements / run.processor / 1e6).toFixed(0)} M weights/s`);
print("rtn, encoding", encode, `${(elements / encode.processor / 1e6).toFixed(0)} M weights/s`);
model.close();
