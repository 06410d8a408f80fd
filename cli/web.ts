/**
 * `lowbit web`
 *
 * @module
 */

import { LowbitError } from "../spec/mod.ts";
import { HEADERS } from "../web/headers.ts";
import type { Command } from "./arguments.ts";
import { writeLine } from "./progress.ts";

/** Types of the files of the page, by the ends of their names. */
const TYPES: Record<string, string> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  json: "application/json",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
};

/** The command. */
export const webCommand: Command = {
  name: "web",
  usage: "[--port N]",
  summary: "Serve the page of formats, quantisation and methods on this machine.",
  positional: [0, 0],
  options: [
    { name: "port", type: "integer", value: "N", help: "the port (8080); 0 takes a free one" },
  ],
  async run(args) {
    const folder = decodeURIComponent(new URL("../web/dist/", import.meta.url).pathname);
    const files = new Map(listFiles(folder, ""));
    if (files.size === 0) {
      throw new LowbitError("NOT_FOUND", "the page is not built", {
        file: "web/dist",
        advice: "run `deno task build:web`",
      });
    }
    const server = serve(files, args.number("port") ?? 8080);
    const url = `http://127.0.0.1:${server.addr.port}/`;
    writeLine(args.flag("json") ? JSON.stringify({ url }) : `${url} (stop with Ctrl-C)`);
    await server.finished;
  },
};

/** Serves just these files, by the paths of their addresses. */
function serve(files: ReadonlyMap<string, string>, port: number): Deno.HttpServer<Deno.NetAddr> {
  if (port > 65535) {
    throw new LowbitError("USAGE", "--port must be at most 65535", {
      advice: "0 takes one that is free",
    });
  }
  try {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, async (request) => {
      const path = new URL(request.url).pathname.slice(1) || "index.html";
      const file = files.get(path);
      if (file === undefined) return new Response("not found\n", { status: 404, headers: HEADERS });
      const type = TYPES[path.split(".").at(-1)!] ?? "application/octet-stream";
      // As a whole: a stream would keep its file open when the browser goes away.
      const body = await Deno.readFile(file);
      return new Response(body, { headers: { ...HEADERS, "content-type": type } });
    });
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new LowbitError("IO", `port ${port} is in use`, { advice: "choose another with --port" });
  }
}

/** The files under a folder, by their paths in it. */
function listFiles(folder: string, prefix: string): [string, string][] {
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(folder + prefix)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return entries.flatMap(({ name, isDirectory }) => {
    const path = prefix + name;
    return isDirectory
      ? listFiles(folder, `${path}/`)
      : [[path, folder + path] as [string, string]];
  });
}
