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
import { runDeno } from "./process.ts";
import { type Temporary, temporary, UNTIED } from "./temporary.ts";

const load = (name: string) => Deno.readFile(`${UNTIED}/${name}`);
const expected = await digests(1, load);
const PAGE = "<!doctype html><meta charset=utf-8><title>lowbit</title>";

/** Bundles a module into a folder. */
async function bundle(folder: Temporary, name: string): Promise<string> {
  const path = folder.at("bundle.mjs");
  const entry = new URL(`browser/${name}`, import.meta.url).pathname;
  const { code, stderr } = await runDeno(["bundle", "--platform", "browser", "-o", path, entry]);
  assertEquals(code, 0, stderr);
  return path;
}

/** Serves the page, the bundle and the tiny model; with or without isolation from other origins. */
function serve(path: string, isolated: boolean): Deno.HttpServer<Deno.NetAddr> {
  const headers = new Headers(
    isolated
      ? {
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
      }
      : {},
  );
  const answer = async (name: string): Promise<[string, string | Uint8Array<ArrayBuffer>]> => {
    if (name === "bundle.mjs") return ["text/javascript", await Deno.readFile(path)];
    if (FILES.includes(name)) return ["application/octet-stream", await load(name)];
    return ["text/html", PAGE];
  };
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const [type, body] = await answer(new URL(request.url).pathname.slice(1));
    headers.set("content-type", type);
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    if (range && typeof body !== "string") {
      const part = body.slice(Number(range[1]), Number(range[2]) + 1);
      headers.set("content-range", `bytes ${range[1]}-${range[2]}/${body.length}`);
      const response = new Response(part, { status: 206, headers });
      headers.delete("content-range");
      return response;
    }
    return new Response(body, { headers });
  });
}

/** The digests in a page of the browser. */
async function inBrowser(
  browser: Browser,
  path: string,
  threads: number,
  isolated: boolean,
): Promise<Digests> {
  const server = serve(path, isolated);
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

Deno.test("two threads in Deno give the bytes of one", async () => {
  assertEquals(await digests(2, load), { ...expected, threads: 2 });
});

Deno.test("Node gives the bytes that Deno gives", async () => {
  using folder = temporary();
  await bundle(folder, "kernels.ts");
  const script = `
    import { kernelDigest } from "./bundle.mjs";
    console.log(JSON.stringify([await kernelDigest(1), await kernelDigest(2)]));
  `;
  const { success, stdout, stderr } = await new Deno.Command("node", {
    args: ["--input-type=module", "-e", script],
    cwd: folder.path,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert(success, text(stderr));
  const { kernels } = expected;
  assertEquals(JSON.parse(text(stdout)), [{ threads: 1, kernels }, { threads: 2, kernels }]);
});

Deno.test({
  name: "Chromium gives the bytes that Deno gives",
  sanitizeOps: false, // the driver of the browser keeps some
  sanitizeResources: false,
  async fn(t) {
    using folder = temporary();
    const path = await bundle(folder, "page.ts");
    const executablePath = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";
    const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    try {
      await t.step("one thread", async () => {
        assertEquals(await inBrowser(browser, path, 1, true), expected);
      });
      await t.step("two threads, where memory can be shared", async () => {
        assertEquals(await inBrowser(browser, path, 2, true), { ...expected, threads: 2 });
      });
      await t.step("one thread, where memory cannot be shared", async () => {
        assertEquals(await inBrowser(browser, path, 2, false), expected);
      });
      await t.step("tensors of a file that is chosen, and of an address", async () => {
        const file = new File([await load("model.safetensors")], "model.safetensors");
        const wanted = await library(file) as { sliced: number };
        assertEquals(wanted.sliced, 64);
        const server = serve(path, false);
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
