/**
 * Products on software adapters: Deno's (Vulkan of Mesa) and Chromium's.
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { webgpuKernels } from "../kernels-webgpu/mod.ts";
import { LowbitError } from "../spec/errors.ts";
import { tiling } from "../spec/granularity.ts";
import { chromium } from "./browser/playwright.ts";
import { bundle, CHROMIUM, serve } from "./browser/serve.ts";
import { type Compared, compareProducts } from "./browser/webgpu.ts";
import { temporary } from "./temporary.ts";

/** Errors are below the bound, and there are some: f32 does not hold most sums. */
function check(compared: Compared[], cases: number): void {
  assertEquals(compared.length, cases);
  for (const product of compared) assert(product.error < 1, JSON.stringify(product));
  assert(compared.some(({ error }) => error > 0));
}

Deno.test("Deno: every width, any tiling, one token and many", async () => {
  check(await compareProducts(160), 160);
});

Deno.test({
  name: "Chromium: the same",
  sanitizeOps: false, // the driver of the browser keeps some
  sanitizeResources: false,
  async fn() {
    using folder = temporary();
    const server = serve(await bundle(folder, "webgpu.ts"), { isolated: true });
    const args = ["--no-sandbox", "--enable-unsafe-webgpu"];
    const browser = await chromium.launch({ executablePath: CHROMIUM, args });
    try {
      const page = await browser.newPage();
      const origin = `http://127.0.0.1:${server.addr.port}`;
      await page.goto(origin);
      // the main thread of a page may not wait for the GPU
      const compared = await page.evaluate(`new Promise((resolve, reject) => {
        const source = \`const origin = "${origin}";
          import(origin + "/bundle.mjs")
          .then(({ compareProducts }) => compareProducts(48))
          .then(postMessage, (error) => postMessage(String(error)))\`;
        const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
        worker.onmessage = ({ data }) => typeof data === "string" ? reject(data) : resolve(data);
        worker.onerror = reject;
      })`);
      check(compared as Compared[], 48);
    } finally {
      await browser.close();
      await server.shutdown();
    }
  },
});

Deno.test("what does not fit is refused, freed memory too", async () => {
  const kernels = await webgpuKernels(await loadKernels());
  const good = {
    tiling: tiling({ kind: "channel" }, 2, 8),
    bits: 4,
    bytes: new Uint8Array(8).fill(0x11),
    table: Float32Array.from({ length: 16 }, (_, i) => i),
    scales: Float32Array.of(1, 2),
  };
  const field = (call: () => unknown) => assertThrows(call, LowbitError).field;
  assertEquals(field(() => kernels.packedWeight({ ...good, bytes: new Uint8Array(7) })), "bytes");
  const weight = kernels.packedWeight(good);
  using x = kernels.upload(new Float32Array(8).fill(1));
  using y = kernels.alloc("f32", 2);
  assertEquals(field(() => kernels.linear({ x, y, tokens: 2, weight })), "x");
  assertEquals(field(() => kernels.linear({ x, y: x, tokens: 1, weight })), "y");
  kernels.linear({ x, y, tokens: 1, weight });
  assertEquals([...y.array], [8, 16]);
  weight.free();
  assertEquals(field(() => kernels.linear({ x, y, tokens: 1, weight })), "weight");
  using dense = kernels.denseWeight(new Float32Array(16).fill(1), 2, 8);
  kernels.linear({ x, y, tokens: 1, weight: dense }); // not on the GPU
  assertEquals([...y.array], [8, 8]);
  const last = kernels.packedWeight(good);
  kernels.close();
  assertThrows(() => kernels.linear({ x, y, tokens: 1, weight: last }), LowbitError, "closed");
  last.free();
});
