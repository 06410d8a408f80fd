/**
 * The page as users have it: built, served by the command line with the documented permissions, and
 * open in Chromium.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { ROOT } from "../process.ts";
import type { Browser, Page } from "./playwright.d.ts";
import { chromium } from "./playwright.ts";

/** The folder of the built page. */
export const BUILT: string = `${ROOT}/web/dist`;

/** Builds the page. */
export async function build(): Promise<void> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "build:web"],
    cwd: ROOT,
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
}

/** A server of the page. */
export interface Served {
  /** Its address. */
  url: string;
  /** Ends it. */
  stop(): Promise<void>;
}

/** `lowbit web`, with just the documented permissions. */
export async function serve(): Promise<Served> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-read",
      "--allow-net=127.0.0.1",
      `${ROOT}/cli.ts`,
      "web",
      "--port",
      "0",
      "--json",
    ],
    cwd: ROOT,
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  return {
    url: JSON.parse(new TextDecoder().decode(value)).url,
    async stop() {
      child.kill();
      await reader.cancel();
      await child.status;
    },
  };
}

/** A host of files that sends no headers but types. */
export function plainHost(): Served {
  const types: Record<string, string> = {
    html: "text/html",
    js: "text/javascript",
    css: "text/css",
    json: "application/json",
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const path = new URL(request.url).pathname.slice(1) || "index.html";
    try {
      const type = types[path.split(".").at(-1)!] ?? "application/octet-stream";
      const body = await Deno.readFile(`${BUILT}/${path}`);
      return new Response(body, { headers: { "content-type": type } });
    } catch {
      return new Response(null, { status: 404 });
    }
  });
  return { url: `http://127.0.0.1:${server.addr.port}/`, stop: () => server.shutdown() };
}

/** Starts Chromium. */
export async function browser(): Promise<Browser> {
  const executablePath = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";
  return await chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/**
 * Waits until an expression is true. The driver's own way would evaluate it in the page, which its
 * policy refuses.
 */
export async function until(page: Page, expression: string): Promise<void> {
  for (let look = 0; look < 3600; look++) {
    if (await page.evaluate(`Boolean(${expression})`)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`never true: ${expression}`);
}

/** Waits until the page has done what it was asked, and says how it ended. */
export async function outcome(page: Page): Promise<string> {
  await until(page, "document.querySelector('.working').hidden");
  const said = await page.textContent("#status");
  return said === "" ? await page.textContent("#fault") : said;
}

/** The bytes that a button gives. */
export async function downloaded(page: Page, label: string): Promise<Uint8Array> {
  await page.evaluate(
    "document.querySelectorAll('#results details').forEach((d) => d.open = true)",
  );
  const waiting = page.waitForEvent("download");
  await page.click(`button[aria-label=${JSON.stringify(label)}]`);
  return await Deno.readFile(await (await waiting).path());
}

/**
 * Texts whose contrast with what is behind them is under 4.5, or 3 for large ones, as
 * `text: ratio`; what is disabled does not count.
 */
export const LOW_CONTRAST = `(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return rgba("Canvas");
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (text === "" || !element.checkVisibility() || element.closest(":disabled, title")) continue;
    const style = getComputedStyle(element);
    const svg = element.namespaceURI.endsWith("svg");
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const [a, b] = [rgba(svg ? style.fill : style.color), behind(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (large ? 3 : 4.5)) low.push(text.slice(0, 40) + ": " + ratio.toFixed(2));
  }
  return low;
})()`;
