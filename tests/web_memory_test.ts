/**
 * Memory in a long session of the page: runs that end, that are stopped and that are cancelled leave
 * nothing behind, in the kernels of a worker or in the tab.
 *
 * Needs `chromium` (its path in CHROMIUM, if it is not /usr/bin/chromium).
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Page } from "./browser/playwright.d.ts";
import { browser, build, outcome, serve, until } from "./browser/web.ts";

/** A worker of the page, without the page around it: `call(name, args, onEvent)`. */
const WORKER = `(async () => {
  const text = await (await fetch("worker.js")).text();
  const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })),
    { type: "module" });
  const waiting = new Map();
  let next = 0;
  worker.onmessage = ({ data }) => {
    const { resolve, reject, onEvent } = waiting.get(data.id);
    if ("event" in data) return onEvent?.(data.event);
    waiting.delete(data.id);
    if ("fault" in data) reject(new Error(data.fault.message));
    else resolve(data.result);
  };
  globalThis.callWorker = (call, args = {}, onEvent) => new Promise((resolve, reject) => {
    const id = ++next;
    waiting.set(id, { resolve, reject, onEvent });
    worker.postMessage({ id, call, args });
  });
  await callWorker("start", { threads: 2, base: document.baseURI });
  await callWorker("open", { files: "embedded" });
})()`;

/** Quantises, scores, generates to the end, stops one after two pieces, and lets one fail. */
const ROUND = `(async () => {
  await callWorker("quantize", { recipe: "gptq-w4g64", to: "lowbit" });
  await callWorker("evaluate", { windows: 1, length: 32 });
  const say = { prompt: "Once upon a time", tokens: 8, temperature: 0, seed: 0 };
  await callWorker("generate", say);
  let pieces = 0;
  await callWorker("generate", { ...say, tokens: 200 },
    (event) => "of" in event && ++pieces === 2 && callWorker("stop"));
  const failed = await callWorker("generate", { ...say, tokens: 100000 }).catch(() => "refused");
  return [failed, (await callWorker("memory")).bytes];
})()`;

/** Resident memory of all processes of a browser, bytes: memory that is shared is in no figure of it. */
function resident(root: number): number {
  const parents = new Map<number, number>(), sizes = new Map<number, number>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = Deno.readTextFileSync(`/proc/${name}/status`);
      const field = (key: string) =>
        Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(status)?.[1]);
      parents.set(Number(name), field("PPid"));
      sizes.set(Number(name), 1024 * field("VmRSS"));
    } catch { /* it has ended */ }
  }
  const ours = (pid: number): boolean => pid === root || (pid > 1 && ours(parents.get(pid) ?? 0));
  return [...sizes].reduce((sum, [pid, size]) => ours(pid) ? sum + (size || 0) : sum, 0);
}

async function cancelled(page: Page): Promise<void> {
  await page.click("#recipe-gptq-w4g128");
  await page.click("#run");
  await until(page, "/^Calibrating/.test(document.querySelector('#status').textContent)");
  await page.click("#cancel");
  assertEquals(await outcome(page), "Cancelled; nothing was kept of it.");
}

Deno.test({
  name: "ten rounds of work in a tab hold no more than one",
  sanitizeOps: false, // the driver of the browser keeps some
  sanitizeResources: false,
  async fn(t) {
    await build();
    const served = await serve();
    const chromium = await browser();
    const page = await chromium.newPage({ viewport: { width: 1280, height: 900 } });
    try {
      await t.step("a worker: quantised, scored, generated, stopped, failed", async () => {
        await page.goto(`${served.url}#/methods`);
        await page.evaluate(WORKER);
        const first = await page.evaluate(ROUND) as [string, number];
        assertEquals(first[0], "refused");
        for (let round = 1; round < 10; round++) assertEquals(await page.evaluate(ROUND), first);
      });

      if (Deno.build.os !== "linux") return; // where processes can be looked at
      await t.step("the tab: cancelled ten times", async () => {
        await page.goto("about:blank");
        await page.goto(`${served.url}#/quantise`);
        await page.click("#open-embedded");
        assertMatch(await outcome(page), /^Opened/);
        await cancelled(page);
        const first = resident(Deno.pid);
        for (let round = 1; round < 10; round++) await cancelled(page);
        // A worker with the model open has tens of megabytes. Chromium gives those of one that has
        // ended back when it has time.
        let grown = Infinity;
        for (let look = 0; look < 40 && grown >= 150e6; look++) {
          await new Promise((resolve) => setTimeout(resolve, 500));
          grown = resident(Deno.pid) - first;
        }
        assert(grown < 150e6, `${(grown / 1e6).toFixed(0)} MB more after nine of them`);
      });
    } finally {
      await chromium.close();
      await served.stop();
    }
  },
});
