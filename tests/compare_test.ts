/** `lowbit compare` and the protocols of `lowbit eval`, as a process. */

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import type { Comparison } from "../compare/document.ts";
import { SOURCE_HASH } from "../report/lib/page.js";
import { reportSourceHash } from "../tools/build_report.ts";
import { memoryOutput } from "../formats/containers/output.ts";
import { SharedStatistics } from "../engine/shared_statistics.ts";
import { createWorkbench } from "../workbench.ts";
import { READ, ROOT, runCli, runJson, startCli } from "./process.ts";
import { temporary } from "./temporary.ts";

Deno.test("compare: entries, differences, a report without a network, and a cache", async () => {
  using folder = temporary();
  const text = folder.text(
    "text.txt",
    Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 9000),
  );
  const args = ["compare", "embedded", "--text", text, "--context", "128", "--windows", "3"];
  args.push("--cache", folder.at("cache"), "--sweep", "bits=3,4 group=64");
  const report = folder.at("report.html");
  const first: Comparison = await runJson([
    ...[...args, "--recipes", "smoothquant-w8a8", "--report", report],
    ...["--csv", folder.at("a.csv"), "--markdown", folder.at("a.md")],
  ]);
  const names = ["smoothquant-w8a8", "rtn-w3g64", "rtn-w4g64"];
  assertEquals(first.entries.map(({ name }) => name), names);
  assertEquals(first.entries.map(({ cached }) => cached), [false, false, false]);
  const [smooth, three, four] = first.entries;
  assert(three.figures.kl > four.figures.kl && four.figures.kl > smooth.figures.kl);
  assert(three.bytes < four.bytes && three.pareto.kl);
  assertEquals(four.linears.length, 28);
  assertEquals(four.tensor!.counts!.reduce((a, b) => a + b), 256 * 640);
  assert(smooth.activations && !four.activations);
  assert(smooth.activations.max_over_median < first.activations.grid.max_over_median);
  const difference = first.differences.find(({ a, b }) => a === "rtn-w3g64" && b === "rtn-w4g64")!;
  assertAlmostEquals(difference.nll, three.figures.nll - four.figures.nll, 1e-6);
  assertEquals(first.differences.length, 6);

  const html = Deno.readTextFileSync(report);
  assert(html.length < 2e6);
  assert(!/<(script|link|img)[^>]*(src|href)=/.test(html), "nothing is fetched");
  const data = /id="data">(.*?)<\/script>/s.exec(html)![1];
  assertEquals(JSON.parse(data), first);
  const csv = Deno.readTextFileSync(folder.at("a.csv")).trimEnd().split("\r\n");
  assertEquals(csv.map((line) => line.split(",")[0]), ["recipe", "full precision", ...names]);
  assertStringIncludes(Deno.readTextFileSync(folder.at("a.md")), "| rtn-w4g64");

  // A further recipe: those that were measured are kept, with the same figures.
  const second: Comparison = await runJson([...args, "--recipes", "rtn-w8"]);
  assertEquals(second.entries.map(({ cached }) => cached), [false, true, true]);
  assertEquals(second.entries[2].figures, four.figures);
});

Deno.test("compare --jobs: the same figures, and times that say that they are of a crowd", async () => {
  using folder = temporary();
  const text = folder.text(
    "text.txt",
    Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 5000),
  );
  const bad = folder.text(
    "bad.yaml",
    "name: bad\nassign: [{ select: ['*'], weight: int4_g64_asym }]\npipeline: [{ use: nothing }]\n",
  );
  const calibration = folder.text("ids.json", JSON.stringify([[1, 2, 3, 4, 5, 6, 7, 8]]));
  const args = ["compare", "embedded", "--text", text, "--context", "64", "--windows", "2"];
  args.push("--recipes", `gptq-w4g64,${bad},rtn-w3g64,rtn-w8`, "--calibration", calibration);
  const run = async (...more: string[]): Promise<Comparison> => {
    const { code, stdout, stderr } = await runCli([...args, ...more, "--json"]);
    assertEquals(code, 1, stderr); // the bad recipe
    return JSON.parse(stdout);
  };
  const alone = await run("--no-cache");
  const crowd = await run("--jobs", "3", "--cache", folder.at("cache"));
  const facts = ({ entries, differences, failures, reference }: Comparison) => ({
    entries: entries.map(({ name, key, bytes, figures, linears, tensor, receipt }) => {
      return { name, key, bytes, figures, linears, tensor, receipt };
    }),
    ...{ differences, failures, reference },
  });
  assertEquals(facts(crowd), facts(alone));
  assertEquals(alone.entries.map(({ jobs }) => jobs), [undefined, undefined, undefined]);
  assertEquals(crowd.entries.map(({ jobs }) => jobs), [3, 3, 3]);
  // What was kept says so for ever, also to a comparison that runs one at a time.
  const kept = await runCli([...args, "--cache", folder.at("cache"), "--csv", folder.at("a.csv")]);
  assertStringIncludes(
    kept.stdout,
    "all recipes were taken while several recipes ran side by side",
  );
  assertMatch(Deno.readTextFileSync(folder.at("a.csv")), /,jobs,.*\r\nfull precision,.*,3,/s);
  const both = await runCli([...args, "--jobs", "2", "--threads", "2"]);
  assertEquals(both.code, 2);
  assertStringIncludes(both.stderr, "--jobs and --threads cannot both be given");
});

Deno.test("compare --jobs: an interrupt ends all jobs, and what is finished is kept", async () => {
  using folder = temporary();
  const text = folder.text(
    "text.txt",
    Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 3000),
  );
  const child = startCli([
    ...["compare", "embedded", "--recipes", "rtn-w8,awq-w4g64,gptq-w4g64", "--jobs", "2"],
    ...["--text", text, "--context", "64", "--windows", "2", "--cache", folder.at("cache")],
  ]);
  const lines = child.stderr.pipeThrough(new TextDecoderStream());
  for await (const line of lines) if (/recipe 2 of 3/.test(line)) break;
  child.kill("SIGINT");
  assertEquals((await child.status).signal, "SIGINT");
  await child.stdout.cancel();
  assertEquals([...Deno.readDirSync(folder.at("cache"))].length, 1);
});

Deno.test("compare: a recipe that cannot be run is listed, and the others go on", async () => {
  using folder = temporary();
  const text = folder.text(
    "text.txt",
    Deno.readTextFileSync(`${ROOT}/embedded/evaluation.txt`).slice(0, 3000),
  );
  const bad = folder.text(
    "bad.yaml",
    "name: bad\nassign: [{ select: ['*'], weight: int4_g64_asym }]\npipeline: [{ use: nothing }]\n",
  );
  const { code, stdout, stderr } = await runCli([
    ...["compare", "embedded", "--recipes", `${bad},rtn-w8`, "--text", text, "--context", "64"],
    ...["--no-cache"],
  ]);
  assertMatch(stderr, /^bad: error\[/m);
  assertEquals(code, 1);
  assertStringIncludes(stdout, "rtn-w8");
});

Deno.test("shared statistics are used, and change no byte", async () => {
  using lowbit = await createWorkbench();
  const model = await lowbit.open("embedded");
  const recipe = "gptq-w4g64";
  const calibration = lowbit.windows(
    model,
    await Deno.readTextFile(`${ROOT}/embedded/calibration.txt`),
    { length: 64, count: 3 },
  );
  const shared = new SharedStatistics(model, ["gram", "abs_max", "abs_mean"]);
  const run = async (recipe: string, shared?: SharedStatistics) => {
    const { receipt } = await lowbit.quantize({
      ...{ model, recipe, calibration, shared },
      out: memoryOutput(),
    });
    return receipt.output;
  };
  for (const recipe of ["gptq-w4g64", "awq-w4g64", "smoothquant-w8a8"]) {
    assertEquals(await run(recipe, shared), await run(recipe), recipe);
  }
  assertEquals(await run(recipe, shared), await run(recipe));
  assert(shared.hits >= 8, String(shared.hits));
  // A recipe that wants more than is shared (smallest and largest inputs) collects for itself.
  const { hits } = shared;
  assertEquals(await run("rtn-w8a8-static", shared), await run("rtn-w8a8-static"));
  assertEquals(shared.hits, hits);
  model.close();
});

Deno.test("perplexity by the protocols of the GPTQ papers and of llama.cpp", async () => {
  using folder = temporary();
  const golden = JSON.parse(Deno.readTextFileSync(`${ROOT}/tests/golden/protocols.json`));
  const ids = folder.text("ids.json", JSON.stringify(golden.ids));
  const close = (a: number, b: number) => assertAlmostEquals(a / b, 1, 1e-3);
  // The shipped model has a context of 512, which the protocol falls back to.
  const gptq = await runJson(["eval", "embedded", "--ids", ids, "--protocol", "gptq"], READ);
  assertEquals(gptq.protocol.context, golden.gptq.context);
  close(gptq.perplexity, golden.gptq.perplexity);

  const file = folder.at("model.gguf");
  await runJson(["quantize", "embedded", file, "--recipe", "ggml-q8_0", "--to", "gguf"]);
  const { context, tokens, perplexity, standard_error } = golden.llama_cpp;
  const llama = await runJson(
    ["eval", file, "--ids", ids, "--protocol", "llama.cpp", "--context", String(context)],
    READ,
  );
  assertEquals(llama.tokens, tokens);
  close(llama.perplexity, perplexity);
  assertAlmostEquals(llama.perplexity_standard_error / standard_error, 1, 0.01);
});

Deno.test("the page of reports is built from its sources", async () => {
  assertEquals(SOURCE_HASH, await reportSourceHash(), "run `deno task build:report`");
});
