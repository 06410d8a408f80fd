/**
 * A bundle of a module of this folder, and a server on loopback that a page loads it from.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { runDeno } from "../process.ts";
import type { Temporary } from "../temporary.ts";

const PAGE = "<!doctype html><meta charset=utf-8><title>lowbit</title>";

/** The browser. */
export const CHROMIUM: string = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";

/** Node. */
export const NODE: string = Deno.env.get("NODE") ?? "node";

/** Bundles a module of this folder; the path of the bundle. */
export async function bundle(folder: Temporary, name: string): Promise<string> {
  const path = folder.at("bundle.mjs");
  const entry = new URL(name, import.meta.url).pathname;
  const { code, stderr } = await runDeno(["bundle", "--platform", "browser", "-o", path, entry]);
  assertEquals(code, 0, stderr);
  return path;
}

/** Serves a page, `/bundle.mjs` and files; with or without isolation from other origins. */
export function serve(
  path: string,
  options: { isolated: boolean; files?: Record<string, () => Promise<Uint8Array<ArrayBuffer>>> },
): Deno.HttpServer<Deno.NetAddr> {
  const headers = new Headers(
    options.isolated
      ? {
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
      }
      : {},
  );
  const answer = async (name: string): Promise<[string, string | Uint8Array<ArrayBuffer>]> => {
    if (name === "bundle.mjs") return ["text/javascript", await Deno.readFile(path)];
    const file = options.files?.[name];
    return file ? ["application/octet-stream", await file()] : ["text/html", PAGE];
  };
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const [type, body] = await answer(new URL(request.url).pathname.slice(1));
    headers.set("content-type", type);
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    if (range && typeof body !== "string") {
      const part = body.slice(Number(range[1]), Number(range[2]) + 1);
      const span = `bytes ${range[1]}-${range[2]}/${body.length}`;
      const partial = new Headers([...headers, ["content-range", span]]);
      return new Response(part, { status: 206, headers: partial });
    }
    return new Response(body, { headers });
  });
}
