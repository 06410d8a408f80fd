/**
 * The same bytes everywhere: kernels, codecs and a quantised model in Chromium, in Node and in
 * Deno, on one thread and on two, from one bundle.
 *
 * Needs `chromium` (its path in CHROMIUM, if it is not /usr/bin/chromium) and `node`.
 */

import { assert, assertEquals } from "@std/assert";
import type { Browser } from "./browser/playwright.d.ts";
import { chromium } from "./browser/playwright.ts";
import { type Digests, digests, FILES, library } from "./browser/page.ts";
import { bundle, CHROMIUM, NODE, serve } from "./browser/serve.ts";
import { temporary, UNTIED } from "./temporary.ts";

const load = (name: string) => Deno.readFile(`${UNTIED}/${name}`);
const expected = await digests(1, load);
const files = Object.fromEntries(FILES.map((name) => [name, () => load(name)]));

/** The digests in a page of the browser. */
async function inBrowser(
  browser: Browser,
  path: string,
  threads: number,
  isolated: boolean,
): Promise<Digests> {
  const server = serve(path, { isolated, files });
  const page = await browser.newPage();
  try {
    await page.goto(`http://127.0.0.1:${server.addr.port}/`);
    const run = `import("/bundle.mjs").then(({ digests }) => digests(${threads}, async (name) =>
      new Uint8Array(await (await fetch("/" + name)).arrayBuffer())))`;
    return await page.evaluate(run) as Digests;
  } finally {
    await page.close();
    await server.shutdown();
  }
}

Deno.test("2, 3 and 5 threads in Deno give the bytes of one", async () => {
  for (const threads of [2, 3, 5]) {
    assertEquals(await digests(threads, load), { ...expected, threads });
  }
});

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** What a script prints in Node. */
async function inNode(script: string, cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(NODE, {
    args: ["--input-type=module", "-e", script],
    cwd,
  }).output();
  assert(success, text(stderr));
  return text(stdout);
}

const COUNTS = [1, 2, 3, 5];

Deno.test("Node gives the bytes that Deno gives", async () => {
  using folder = temporary();
  await bundle(folder, "kernels.ts");
  const made = await inNode(
    `
    import { kernelDigest } from "./bundle.mjs";
    const made = [];
    for (const threads of ${JSON.stringify(COUNTS)}) made.push(await kernelDigest(threads));
    console.log(JSON.stringify(made));`,
    folder.path,
  );
  const { kernels } = expected;
  assertEquals(JSON.parse(made), COUNTS.map((threads) => ({ threads, kernels })));
});

// The bundle of the whole library has `using` declarations, which Node 24 is the first to read.
const version = Number((await inNode("console.log(process.versions.node)", ".")).split(".")[0]);

Deno.test({
  name: "Node 24 gives a calibrated run the bytes that Deno gives it",
  ignore: version < 24,
  async fn() {
    using folder = temporary();
    await bundle(folder, "page.ts");
    const made = await inNode(
      `
      import { readFile } from "node:fs/promises";
      import { digests } from "./bundle.mjs";
      const load = async (name) => new Uint8Array(await readFile(${
        JSON.stringify(UNTIED)
      } + "/" + name));
      const made = [];
      for (const threads of ${JSON.stringify(COUNTS)}) made.push(await digests(threads, load));
      console.log(JSON.stringify(made));`,
      folder.path,
    );
    assertEquals(JSON.parse(made), COUNTS.map((threads) => ({ ...expected, threads })));
  },
});

Deno.test({
  name: "Chromium gives the bytes that Deno gives",
  sanitizeOps: false, // the driver of the browser keeps some
  sanitizeResources: false,
  async fn(t) {
    using folder = temporary();
    const path = await bundle(folder, "page.ts");
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    try {
      await t.step("one thread", async () => {
        assertEquals(await inBrowser(browser, path, 1, true), expected);
      });
      for (const threads of [2, 3, 5]) {
        await t.step(`${threads} threads, where memory can be shared`, async () => {
          assertEquals(await inBrowser(browser, path, threads, true), { ...expected, threads });
        });
      }
      await t.step("one thread, where memory cannot be shared", async () => {
        assertEquals(await inBrowser(browser, path, 2, false), expected);
      });
      await t.step("tensors of a file that is chosen, and of an address", async () => {
        const file = new File([await load("model.safetensors")], "model.safetensors");
        const wanted = await library(file) as { sliced: number };
        assertEquals(wanted.sliced, 64);
        const server = serve(path, { isolated: false, files });
        const page = await browser.newPage();
        try {
          await page.goto(`http://127.0.0.1:${server.addr.port}/`);
          const run = `import("/bundle.mjs").then(async ({ library }) => {
            const bytes = await (await fetch("/model.safetensors")).arrayBuffer();
            const file = await library(new File([bytes], "model.safetensors"));
            return [file, await library(location.origin + "/model.safetensors")];
          })`;
          const [ofFile, ofAddress] = await page.evaluate(run) as unknown[];
          assertEquals(ofFile, wanted);
          assertEquals(ofAddress, { ...wanted, sliced: 0 });
        } finally {
          await page.close();
          await server.shutdown();
        }
      });
    } finally {
      await browser.close();
    }
  },
});
