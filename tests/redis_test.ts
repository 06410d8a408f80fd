/**
 * Jobs of a real Redis on loopback: several workers, one killed, one stopped, bad jobs, no server.
 * Needs `redis-server`.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { finished, ROOT, runCli, startCli, WRITE } from "./process.ts";
import { temporary } from "./temporary.ts";

/** The documented permissions of `worker`. */
const QUEUE = [...WRITE, "--allow-env", "--allow-net=127.0.0.1"];

/** A server of its own, that ends with the scope. */
async function redis(): Promise<{ url: string } & AsyncDisposable> {
  const probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = probe.addr as Deno.NetAddr;
  probe.close();
  const server = new Deno.Command("redis-server", {
    args: ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    stdout: "null",
    stderr: "null",
  }).spawn();
  for (let turn = 0;; turn++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      break;
    } catch (error) {
      if (turn > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.kill("SIGTERM");
      await server.status;
    },
  };
}

/** Reads a worker's stderr until it says `text`; the rest is thrown away as it comes. */
async function said(child: Deno.ChildProcess, text: string): Promise<void> {
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  for (let seen = ""; !seen.includes(text);) {
    const { done, value } = await reader.read();
    assert(!done, `ended after ${seen}`);
    seen += value;
  }
  (async () => {
    while (!(await reader.read()).done);
  })();
}

Deno.test("jobs: results in order, bytes of the command line, a killed and a stopped worker", async () => {
  await using server = await redis();
  using place = temporary();
  const recipes = ["gptq-w4g64", "rtn-w4g64", "gptq-w3g64", "nf4-g64"];
  const jobs = recipes.map((recipe) => [
    ...["quantize", "embedded", `${place.path}/${recipe}`, "--recipe", recipe],
  ]);
  jobs.push(["inspect", `${place.path}/absent`], ["eval", "embedded", "--text", "README.md"]);
  jobs[5].push("--windows", "2");
  const file = place.text("jobs.json", JSON.stringify(jobs));
  const submitted = finished(
    startCli(["worker", "--queue", server.url, "--submit", file, "--json"], QUEUE),
  );

  const killed = startCli(["worker", "--queue", server.url], QUEUE);
  await said(killed, "job ");
  killed.kill("SIGKILL");
  await killed.status;
  await killed.stdout.cancel();

  const stopped = startCli(["worker", "--queue", server.url, "--json"], QUEUE);
  await said(stopped, "job ");
  stopped.kill("SIGTERM");
  assertEquals((await stopped.status).code, 0);
  assertEquals(await new Response(stopped.stdout).json(), { done: 0 });

  const last = startCli(["worker", "--queue", server.url, "--quiet"], QUEUE);
  const { code, stdout, stderr } = await submitted;
  last.kill("SIGTERM");
  assertEquals([(await finished(last)).stderr, code], ["", 1], stderr);
  const outcomes = JSON.parse(stdout).jobs;
  assertEquals(outcomes.map(({ args }: { args: string[] }) => args), jobs);
  for (const [i, recipe] of recipes.entries()) {
    assertEquals(outcomes[i].result.document.recipe, recipe);
    const alone = `${place.path}/alone-${recipe}`;
    assertEquals(
      (await runCli(["quantize", "embedded", alone, "--recipe", recipe], WRITE)).code,
      0,
    );
    const name = "model.safetensors";
    assertEquals(
      await Deno.readFile(`${place.path}/${recipe}/${name}`),
      await Deno.readFile(`${alone}/${name}`),
    );
  }
  assertMatch(outcomes[4].error, /^error\[NOT_FOUND\]/);
  assertEquals(outcomes[5].result.document.tokens, 2 * 511);
  assertMatch(stderr, /6 of 6: job/);
});

Deno.test("jobs that any program added are checked again; a worker drains what waits", async () => {
  await using server = await redis();
  using place = temporary();
  const bad = [
    { args: ["web"] },
    { args: "quantize" },
    { args: ["eval", "m", "--plugin=x.ts"] },
    7,
  ];
  const add = place.text(
    "add.ts",
    `import { Queue } from "bullmq";
     const queue = new Queue("lowbit", { connection: { url: ${JSON.stringify(server.url)} } });
     await queue.addBulk(${JSON.stringify(bad)}.map((data) => ({ name: "job", data })));
     await queue.close();`,
  );
  const added = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--config", `${ROOT}/deno.json`, add],
  }).output();
  assertEquals(added.code, 0, new TextDecoder().decode(added.stderr));
  const { code, stdout, stderr } = await runCli(
    ["worker", "--queue", server.url, "--drain", "--json"],
    QUEUE,
  );
  assertEquals([code, JSON.parse(stdout)], [0, { done: 0 }], stderr);
});
