/** Remote sources against servers on loopback that end with their test. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { sha256Hex } from "../containers/sha256.ts";
import { open } from "../library.ts";
import { httpSource } from "./http.ts";

const HEAD = new TextEncoder();
const here = new URL("../../tests/golden/", import.meta.url);
const WEIGHTS = Deno.readFileSync(new URL("models/untied/model.safetensors", here));
const CONFIG = Deno.readFileSync(new URL("models/untied/config.json", here));
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const TOKEN = "hf_secretsecret";

/** How a server misbehaves. */
interface Faults {
  /** Breaks the body of the first answers off after so many bytes. */
  breakAfter?: number;
  /** How many answers break off. */
  breaks?: number;
  /** Answers without ranges. */
  whole?: boolean;
  /** Requires this value of `authorization`. */
  authorization?: string;
  /** Changes the tag after the first answer. */
  changing?: boolean;
}

interface Served extends AsyncDisposable {
  base: string;
  requests: Headers[];
  sent: { bytes: number };
}

type Route = (url: URL, request: Request) => Uint8Array | Response | undefined;

async function gitId(bytes: Uint8Array): Promise<string> {
  const data = new Uint8Array([...HEAD.encode(`blob ${bytes.length}\0`), ...bytes]);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-1", data));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Serves bytes by ranges, with faults. */
function serve(route: Route, faults: Faults = {}): Served {
  let broken = 0;
  const requests: Headers[] = [];
  const sent = { bytes: 0 };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    requests.push(new Headers(request.headers));
    const { authorization } = faults;
    if (authorization && request.headers.get("authorization") !== authorization) {
      return new Response("no", { status: 401 });
    }
    const found = route(new URL(request.url), request);
    if (found === undefined) {
      return new Response("none", { status: 404, headers: { "x-error-code": "EntryNotFound" } });
    }
    if (found instanceof Response) return found;
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    const etag = `"${faults.changing ? requests.length : 1}"`;
    if (!range || faults.whole) return new Response(found.slice(), { headers: { etag } });
    const [from, to] = [Number(range[1]), Math.min(Number(range[2]), found.length - 1)];
    const part = found.slice(from, to + 1);
    const headers = { etag, "content-range": `bytes ${from}-${to}/${found.length}` };
    const { breakAfter, breaks = 0 } = faults;
    if (breakAfter !== undefined && part.length > breakAfter && broken < breaks) {
      broken++;
      sent.bytes += breakAfter;
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(part.slice(0, breakAfter));
          setTimeout(() => controller.close(), 20);
        },
      });
      return new Response(body, {
        status: 206,
        headers: { ...headers, "content-length": String(part.length) },
      });
    }
    sent.bytes += part.length;
    return new Response(part, { status: 206, headers });
  });
  return {
    base: `http://127.0.0.1:${server.addr.port}`,
    requests,
    sent,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const refused = async (work: () => Promise<unknown>) => {
  const error = await assertRejects(work, LowbitError);
  return `${error.code} ${error.message}`.replace(/127\.0\.0\.1:\d+/g, "HOST");
};

const file: Route = (url) => url.pathname === "/model.safetensors" ? WEIGHTS : undefined;

Deno.test("http: ranges alone are read, and what breaks off goes on where it was", async () => {
  await using server = serve(file, { breakAfter: 1000, breaks: 3 });
  const source = await httpSource(`${server.base}/model.safetensors`);
  assertEquals(source.size, WEIGHTS.length);
  assertEquals(await source.read(5, 10_000), WEIGHTS.slice(5, 10_005));
  assertEquals(server.sent.bytes, 1 + 10_000);
  const starts = server.requests.map((headers) => headers.get("range"));
  assertEquals(
    starts,
    ["0-0", "5-10004", "1005-10004", "2005-10004", "3005-10004"].map((range) => `bytes=${range}`),
  );
});

Deno.test("http: a server that always breaks off, has no ranges, refuses, or changes the file", async () => {
  {
    await using server = serve(file, { breakAfter: 1, breaks: 999 });
    const source = await httpSource(`${server.base}/model.safetensors`);
    assert(/^(IO|TRUNCATED) http:\/\/HOST\/model.safetensors: the /.test(
      await refused(() => source.read(0, 5000)),
    ));
  }
  {
    await using server = serve(file, { whole: true });
    assertEquals(
      await refused(() => open(`${server.base}/model.safetensors?token=secret`)),
      "UNSUPPORTED http://HOST/model.safetensors: the server ignores range requests; " +
        "download the file and open the copy",
    );
  }
  {
    await using server = serve(file, { authorization: `Basic ${btoa("me:pass word")}` });
    const host = server.base.slice("http://".length);
    assertEquals(
      await refused(() => open(`http://me:wrong@${host}/model.safetensors?key=secret`)),
      "IO http://HOST/model.safetensors: the server answers 401: access is refused; " +
        "check the user and password, or the token in the URL",
    );
    using checkpoint = await open(`http://me:pass%20word@${host}/model.safetensors`);
    assert(checkpoint.tensors.size > 10);
    assertEquals(
      await refused(() => open(`http://me:pass%20word@${host}/none.safetensors`)),
      "NOT_FOUND http://HOST/none.safetensors: the server answers 404",
    );
  }
  {
    await using server = serve(file, { changing: true });
    const source = await httpSource(`${server.base}/model.safetensors`);
    assertEquals(
      await refused(() => source.read(0, 5)),
      "MALFORMED http://HOST/model.safetensors: was changed while it was read; run the command again",
    );
  }
  assert(!(await refused(() => open("http://me:secret@127.0.0.1:1/x?secret"))).includes("secret"));
});

Deno.test("http: a redirect to another host does not take the password along", async () => {
  await using target = serve(file);
  const there = target.base.replace("127.0.0.1", "localhost");
  await using server = serve(() => Response.redirect(`${there}/model.safetensors`, 302));
  const source = await httpSource(server.base.replace("//", "//me:secret@") + "/moved");
  assertEquals(await source.read(0, 8), WEIGHTS.slice(0, 8));
  assert(server.requests.every((headers) => headers.has("authorization")));
  assert(target.requests.every((headers) => !headers.has("authorization")));
});

Deno.test("cache: whole files, resumed after a transfer that failed, held against their hash", async () => {
  const folder = await Deno.makeTempDir();
  const env = { XDG_CACHE_HOME: folder };
  const files = () => {
    const found: string[] = [];
    for (const { name } of Deno.readDirSync(`${folder}/lowbit`)) {
      for (const entry of Deno.readDirSync(`${folder}/lowbit/${name}`)) found.push(entry.name);
    }
    return found;
  };
  try {
    await using server = serve(file);
    const url = `${server.base}/model.safetensors`;
    const wrong = "0".repeat(64);
    assert((await refused(() => open(`${url}#sha256=${wrong}`, { env }))).includes(
      `its SHA-256 is ${sha256Hex(WEIGHTS)}, not ${wrong}; the copy was removed`,
    ));
    assertEquals(files(), []);
    const hash = `${url}#sha256=${sha256Hex(WEIGHTS)}`;
    // The first part is there already, as a process that was killed leaves it.
    const key = sha256Hex(HEAD.encode(`${url}\n${sha256Hex(WEIGHTS)}`));
    await Deno.mkdir(`${folder}/lowbit/${key}`, { recursive: true });
    const part = `${folder}/lowbit/${key}/model.safetensors.incomplete`;
    await Deno.writeFile(part, WEIGHTS.slice(0, 9000));
    server.sent.bytes = 0;
    (await open(hash, { env })).close();
    assertEquals(server.sent.bytes, 1 + WEIGHTS.length - 9000);
    assertEquals(files(), ["model.safetensors"]);
    server.sent.bytes = 0;
    using again = await open(hash, { env });
    assertEquals(server.sent.bytes, 1);
    assertEquals((await again.tensors.get("lm_head.weight")!.dequantize()).length, 64 * 16);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** The parts of the hub's API that are used. */
async function hub(sha256 = sha256Hex(WEIGHTS)): Promise<Route> {
  const tree = [
    { type: "file", path: "config.json", size: CONFIG.length, oid: await gitId(CONFIG) },
    {
      type: "file",
      path: "model.safetensors",
      size: WEIGHTS.length,
      oid: "1".repeat(40),
      lfs: { oid: sha256, size: WEIGHTS.length, pointerSize: 130 },
    },
    { type: "directory", path: "folder", size: 0, oid: "2".repeat(40) },
  ];
  return (url) => {
    const { pathname } = url;
    if (/^\/api\/models\/org\/tiny\/revision\/(main|v1|0123\w+)$/.test(pathname)) {
      return Response.json({ id: "org/tiny", modelId: "org/tiny", sha: COMMIT });
    }
    if (
      pathname === `/api/models/org/tiny/tree/${COMMIT}/` ||
      pathname === `/api/models/org/tiny/tree/${COMMIT}`
    ) {
      return Response.json(tree);
    }
    if (pathname === `/org/tiny/resolve/${COMMIT}/config.json`) return CONFIG;
    if (pathname === `/org/tiny/resolve/${COMMIT}/model.safetensors`) return WEIGHTS;
    return undefined;
  };
}

Deno.test("hub: a revision is pinned to its commit; token, endpoint and home are respected", async () => {
  const home = await Deno.makeTempDir();
  try {
    await using server = serve(await hub(), { authorization: `Bearer ${TOKEN}` });
    const env = { HF_ENDPOINT: server.base, HF_TOKEN: TOKEN, HF_HOME: home };
    using lazy = await open("hf://org/tiny@v1", { env });
    assertEquals(lazy.name, `hf://org/tiny@${COMMIT}`);
    assert(server.sent.bytes < WEIGHTS.length);
    assertEquals([...Deno.readDirSync(home)].length, 0);
    using whole = await open("hf://org/tiny@v1", { env, download: true });
    const cache = `${home}/hub/models--org--tiny`;
    assertEquals(Deno.readTextFileSync(`${cache}/refs/v1`), COMMIT);
    assertEquals(Deno.readFileSync(`${cache}/blobs/${sha256Hex(WEIGHTS)}`), WEIGHTS);
    assertEquals(Deno.readFileSync(`${cache}/snapshots/${COMMIT}/config.json`), CONFIG);
    server.sent.bytes = 0;
    assertEquals(
      await whole.tensors.get("model.norm.weight")!.dequantize(),
      await lazy.tensors.get("model.norm.weight")!.dequantize(),
    );
    assertEquals(server.sent.bytes, 64);
    const wrong = { ...env, HF_TOKEN: "hf_wrongwrong" };
    assertEquals(
      await refused(() => open("hf://org/tiny", { env: wrong })),
      "IO hf://org/tiny: the server answers 401: access is refused; " +
        "set HF_TOKEN to a token that may read it",
    );
    const odd = await refused(() =>
      open("hf://org/tiny", { env: { ...env, HF_TOKEN: "top-secret" } })
    );
    assert(!odd.includes("top-secret"), odd);
    assertEquals(
      await refused(() => open("hf://org/none", { env })),
      "NOT_FOUND hf://org/none: the server answers 404",
    );
    assert((await refused(() => open("hf://../x/y", { env }))).startsWith("USAGE "));
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("hub: a file that is not what the hub lists is refused and removed", async () => {
  const home = await Deno.makeTempDir();
  try {
    await using server = serve(await hub("f".repeat(64)));
    const env = { HF_ENDPOINT: server.base, HF_HOME: home };
    const problem = await refused(() => open("hf://org/tiny", { env, download: true }));
    assert(problem.includes("its SHA-256 is"), problem);
    const blobs = [...Deno.readDirSync(`${home}/hub/models--org--tiny/blobs`)];
    assertEquals(blobs.map(({ name }) => name), [await gitId(CONFIG)]);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("S3: objects and prefixes, signed, without the secret in messages", async () => {
  const objects = new Map([["m/config.json", CONFIG], ["m/model.safetensors", WEIGHTS]]);
  const route: Route = (url, request) => {
    const signed = request.headers.get("authorization") ?? "";
    if (!/^AWS4-HMAC-SHA256 Credential=AKID\/\d{8}\/eu-west-1\/s3\/aws4_request, /.test(signed)) {
      return new Response("<Error/>", { status: 403 });
    }
    if (url.searchParams.get("list-type") === "2") {
      const page = url.searchParams.get("continuation-token");
      const key = page ? "m/model.safetensors" : "m/config.json";
      const more = page ? "" : "<NextContinuationToken>a&amp;b</NextContinuationToken>";
      return new Response(`<R><Contents><Key>${key}</Key></Contents>${more}</R>`);
    }
    return objects.get(url.pathname.replace("/bucket/", ""));
  };
  await using server = serve(route);
  const env = {
    AWS_ENDPOINT_URL: server.base,
    AWS_ACCESS_KEY_ID: "AKID",
    AWS_SECRET_ACCESS_KEY: "verysecret",
    AWS_REGION: "eu-west-1",
  };
  using folder = await open("s3://bucket/m/", { env });
  using one = await open("s3://bucket/m/model.safetensors", { env });
  assertEquals([...folder.tensors.keys()], [...one.tensors.keys()]);
  assertEquals(folder.config.model_type, "llama");
  assertEquals(
    await refused(() => open("s3://bucket/m/none.safetensors", { env })),
    "NOT_FOUND s3://bucket/m/none.safetensors: the server answers 404",
  );
  const without = { AWS_ENDPOINT_URL: server.base };
  assertEquals(
    await refused(() => open("s3://bucket/m/", { env: without })),
    "IO s3://bucket/m/: the server answers 403: access is refused; " +
      "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may read",
  );
});
