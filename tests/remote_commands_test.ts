/** Every command that takes a model takes an address: run as a process against a server here. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ROOT, runCli, runJson, WRITE } from "./process.ts";
import { temporary } from "./temporary.ts";

const MODEL = Deno.readFileSync(`${ROOT}/tests/golden/models/untied/model.gguf`);

/** Serves the model by ranges and counts requests. */
function serve() {
  const seen = { requests: 0 };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    seen.requests++;
    if (new URL(request.url).pathname !== "/model.gguf") return new Response("", { status: 404 });
    const head = { etag: '"1"', "accept-ranges": "bytes" };
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "") ?? [];
    if (from === undefined) return new Response(MODEL, { headers: head });
    const end = Math.min(to ? Number(to) + 1 : MODEL.length, MODEL.length);
    const part = MODEL.slice(Number(from), end);
    const range = `bytes ${from}-${end - 1}/${MODEL.length}`;
    return new Response(part, { status: 206, headers: { ...head, "content-range": range } });
  });
  return { server, seen, host: `127.0.0.1:${server.addr.port}` };
}

Deno.test("a model by address, in every command that takes one", async (t) => {
  using place = temporary();
  const { server, seen, host } = serve();
  const model = `http://${host}/model.gguf`;
  const net = [...WRITE, `--allow-net=${host}`];
  const ids = place.text(
    "ids.json",
    JSON.stringify([Array.from({ length: 24 }, (_, i) => (7 * i) % 40)]),
  );
  const out = place.at("out");
  const commands: string[][] = [
    ["inspect", model],
    ["lint", model],
    ["quantize", model, out, "--recipe", "rtn-w8", "--no-download"],
    ["verify", `${out}/receipt.json`, "--model", model],
    ["verify", `${out}/receipt.json`, "--model", model, "--rerun"],
    ["convert", model, place.at("converted"), "--to", "safetensors"],
    ["eval", model, "--ids", ids, "--reference", model],
    ["compare", model, "--recipes", "rtn-w8,rtn-w4", "--ids", ids, "--no-cache"],
    ["formats", "compare", "int4", "--on", model],
  ];
  try {
    for (const args of commands) {
      await t.step(args.filter((word) => !word.includes("/")).join(" "), async () => {
        const before = seen.requests;
        await runJson(args, net);
        assert(seen.requests > before, "the server was not asked");
      });
    }
    await t.step("without the permission the error names it", async () => {
      for (const [command, ...rest] of commands.filter(([name]) => name !== "quantize")) {
        const { code, stderr } = await runCli([command, ...rest], WRITE);
        assertEquals(code, 1, stderr);
        assertStringIncludes(stderr, `run with --allow-net=${host}`);
      }
    });
  } finally {
    await server.shutdown();
  }
});
