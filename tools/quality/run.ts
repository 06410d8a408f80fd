/**
 * Measures recipes on a model, by the protocol of the published figures, and writes the table.
 *
 * ```sh
 * deno task quality NAME --model MODEL [--ids FILE.json#KEY] [--calibration FILE.json#KEY] [ROW...]
 * ```
 *
 * `tools/quality/NAME.yaml` says what is measured. Each row is run by the command line in a process of
 * its own, so that its peak memory is its own, and is written to `docs/generated/quality-NAME.json` as
 * it ends. Rows that this file has are not measured again unless they are named; `--all` measures
 * every row. Without `--model` only the table is written, from the figures that are there. Windows do
 * not overlap and have no BOS; every position but the first is scored; KL is
 * `KL(P_full || P_quantised)` in nats over the whole vocabulary.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { readIds } from "../../cli/inputs.ts";
import { createWorkbench, type TensorReport, VERSION } from "../../mod.ts";
import { type Case, parseCases } from "./cases.ts";
import { type Figures, qualityTable, type Row } from "./table.ts";

const args = parseArgs(Deno.args, {
  string: ["model", "ids", "calibration", "threads", "commit", "_"],
  boolean: ["all"],
});
const text = (name: string) => args[name] as string | undefined;
const [name, ...named] = args._.map(String);
const cases = parseCases(await Deno.readTextFile(`tools/quality/${name}.yaml`));
const unknown = named.find((row) => !cases.rows.some((other) => other.name === row));
if (unknown) throw new Error(`tools/quality/${name}.yaml has no row ${unknown}`);
const out = `docs/generated/quality-${name}`;
const figures: Figures = JSON.parse(await Deno.readTextFile(`${out}.json`).catch(() => "null")) ??
  { perplexity: 0, windows: 0, length: 0, predictions: 0, rows: [] };
if (text("model")) await measure(text("model")!);
await write();

/** Measures the rows that are wanted. */
async function measure(modelName: string) {
  using lowbit = await createWorkbench({ threads: Number(text("threads") ?? 0) });
  const model = await lowbit.open(modelName);
  const all = text("ids")
    ? await readIds(text("ids")!, 512)
    : lowbit.windows(model, await Deno.readTextFile("embedded/evaluation.txt"), {
      length: cases.length,
    });
  const windows = all.slice(0, cases.windows ?? all.length);
  using reference = await lowbit.stream(model, windows);
  const full = await lowbit.evaluate({ model, windows, reference });
  figures.perplexity = full.perplexity;
  figures.windows = windows.length;
  figures.length = windows[0].length;
  figures.predictions = full.tokens;
  const folder = await Deno.makeTempDir();
  const known = new Set(figures.rows.map((row) => row.name));
  const wanted = named.length > 0
    ? cases.rows.filter((row) => named.includes(row.name))
    : cases.rows.filter((row) => args.all || !known.has(row.name));
  let failed = 0;
  for (const row of wanted) {
    try {
      const { seconds, peak_rss_bytes, tensors } = await quantize(modelName, row, `${folder}/out`);
      const quantized = await lowbit.open(`${folder}/out`);
      const score = await lowbit.evaluate({ model: quantized, windows, reference });
      quantized.close();
      const measured: Row = {
        name: row.name,
        bits: round(bits(tensors), 5),
        bits_quantized: round(bits(tensors.filter(({ plugin }) => plugin)), 5),
        perplexity: round(score.perplexity, 7),
        kl: round(score.kl, 5),
        top1: round(score.top1_agreement, 5),
        seconds: round(seconds, 4),
        peak_mib: Math.round(peak_rss_bytes / 2 ** 20),
        kernels: lowbit.kernels.name,
        threads: lowbit.kernels.threads,
        version: `${VERSION} ${await commit()}`.trim(),
        date: new Date().toISOString().slice(0, 10),
      };
      figures.rows = [...figures.rows.filter((other) => other.name !== row.name), measured];
      console.error(JSON.stringify(measured));
      await write();
    } catch (error) {
      failed++;
      console.error(`${row.name}: ${(error as Error).message}`);
    }
  }
  model.close();
  await Deno.remove(folder, { recursive: true });
  if (failed) Deno.exitCode = 1;
}

/** Writes figures and table, in the order of the cases. */
async function write() {
  const order = new Map(cases.rows.map((row, i) => [row.name, i]));
  figures.rows = figures.rows.filter((row) => order.has(row.name))
    .sort((a, b) => order.get(a.name)! - order.get(b.name)!);
  await Deno.writeTextFile(`${out}.json`, JSON.stringify(figures, null, 2) + "\n");
  await Deno.writeTextFile(`${out}.md`, qualityTable(cases, figures));
}

/** Runs the command line on the model; what it prints as JSON. */
async function quantize(model: string, row: Case, path: string) {
  const calibration = text("calibration");
  const { stdout, stderr, success } = await new Deno.Command("deno", {
    args: [
      ...["run", "-A", "cli.ts", "quantize", model, path, "--recipe", row.recipe, "--overwrite"],
      ...["--json", "--quiet", "--threads", text("threads") ?? "0", ...row.arguments],
      ...calibration ? ["--calibration", calibration] : [],
    ],
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout)) as {
    seconds: number;
    peak_rss_bytes: number;
    tensors: TensorReport[];
  };
}

/** The commit that runs. */
async function commit(): Promise<string> {
  if (text("commit")) return text("commit")!;
  const { stdout } = await new Deno.Command("git", { args: ["rev-parse", "--short", "HEAD"] })
    .output().catch(() => ({ stdout: new Uint8Array() }));
  return new TextDecoder().decode(stdout).trim();
}

/** Bits an element of some tensors. */
function bits(tensors: readonly TensorReport[]): number {
  const elements = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return 8 * tensors.reduce((sum, { bytes }) => sum + bytes, 0) / elements;
}

/** A number of so many digits. */
function round(x: number, digits: number): number {
  return Number(x.toPrecision(digits));
}
