/** Calibration data: files that other programs wrote, chats, sampling, and what receipts say of it. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { cutWindows } from "../engine/calibration.ts";
import { embeddedPath } from "../embedded/mod.ts";
import { fileSource, memorySource } from "../formats/containers/source.ts";
import { openParquet } from "../formats/containers/parquet.ts";
import { readDocuments } from "../formats/documents.ts";
import { renderChat } from "../models/chat_template.ts";
import { presetRecipe } from "../recipes/mod.ts";
import { LowbitError } from "../spec/mod.ts";
import { bench } from "./engine_bench.ts";
import { ROOT, runCli, runJson } from "./process.ts";
import { temporary } from "./temporary.ts";

const GOLDEN = `${ROOT}/tests/golden/calibration`;
const expected = JSON.parse(Deno.readTextFileSync(`${GOLDEN}/expected.json`));
const ALL = { characters: Infinity };
const bytes = (text: string) => new TextEncoder().encode(text);

for (const name of ["snappy", "zstd", "gzip", "plain"]) {
  Deno.test(`documents: parquet as pyarrow writes it, ${name}`, async () => {
    const source = await fileSource(`${GOLDEN}/${name}.parquet`);
    const parquet = await openParquet(source);
    assertEquals([parquet.columns, parquet.rows], [["id", "text", "messages"], 40]);
    assertEquals(await readDocuments(source, ALL), {
      kind: "parquet",
      field: "text",
      documents: expected.texts,
    });
    const chats = await readDocuments(source, { field: "messages", ...ALL });
    assertEquals(chats.documents.slice(0, 3), expected.chats);
    const some = await readDocuments(source, { characters: 100 });
    assert(some.documents.length < 10 && some.documents.join("").length >= 100);
    source.close();
  });
}

Deno.test("documents: damaged parquet is refused, whatever byte is wrong", async () => {
  const file = Deno.readFileSync(`${GOLDEN}/zstd.parquet`);
  for (let i = 0; i < 200; i++) {
    const damaged = file.slice(0, i % 3 === 0 ? Math.floor(file.length * i / 200) : undefined);
    for (let j = 0; j < 4; j++) {
      const at = damaged.length - 1 - (i * 131 + j * 17) % Math.max(1, damaged.length);
      if (at >= 0) damaged[at] ^= 1 << (i % 8);
    }
    const outcome = await readDocuments(memorySource("a.parquet", damaged), ALL).then(
      () => "read",
      (error) => error instanceof LowbitError ? error.code : String(error),
    );
    assertMatch(outcome, /^(read|MALFORMED|LIMIT|CALIBRATION|UNKNOWN_NAME|TRUNCATED)$/);
  }
});

Deno.test("documents: JSONL across pieces, other fields, ShareGPT, and what is refused", async () => {
  const long = "x".repeat(700_000);
  const rows = [long, "ä", long, "end"].map((text) => JSON.stringify({ text })).join("\r\n");
  const read = await readDocuments(memorySource("a.jsonl", bytes(rows)), ALL);
  assertEquals(read.documents.map((text) => text.length), [700_000, 1, 700_000, 3]);
  const chat = `{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}\n\n`;
  assertEquals((await readDocuments(memorySource("a.ndjson", bytes(chat)), ALL)).documents, [
    [{ role: "user", content: "a" }, { role: "assistant", content: "b" }],
  ]);
  for (
    const [text, problem] of [
      ["{", /line 1: is not JSON/],
      ["[1]", /line 1: is no object/],
      [`{"a":"x","b":"y"}`, /has no field "text"; name one with FILE#FIELD: a, b/],
      [`{"text":"x"}\n{"text":3}`, /line 2, text: is neither a text nor a list of messages/],
      ["", /has no documents/],
      ["\xff", /./],
    ] as const
  ) {
    const source = memorySource("a.jsonl", bytes(text));
    assertMatch(
      String(await assertRejects(() => readDocuments(source, ALL), LowbitError)),
      problem,
    );
  }
  const latin = memorySource("a.txt", Uint8Array.of(0x61, 0xe4));
  await assertRejects(() => readDocuments(latin, ALL), LowbitError, "is not UTF-8");
});

Deno.test("chat templates give the texts of transformers", () => {
  for (
    const { template, texts } of Object.values<{ template: string; texts: string[] }>(
      expected.rendered,
    )
  ) {
    const made = expected.chats.map((chat: { role: string; content: string }[]) =>
      renderChat(chat, { template, bos: "<s>", eos: "</s>" })
    );
    assertEquals(made, texts);
  }
  for (const template of ["{% for %}", "{{ raise_exception('no') }}"]) {
    let error: unknown;
    try {
      renderChat([], { template });
    } catch (caught) {
      error = caught;
    }
    assert(error instanceof LowbitError && error.code === "MALFORMED", template);
  }
});

Deno.test("windows by a seed: the same each time, all different, spread over the text", () => {
  const ids = Int32Array.from({ length: 1000 }, (_, i) => i);
  const starts = (seed?: number) =>
    cutWindows(ids, { length: 10, count: 20, spread: true, seed }).map(([first]) => first);
  assertEquals(starts(), Array.from({ length: 20 }, (_, i) => 50 * i));
  assertEquals(starts(3), starts(3));
  assert(starts(3).join() !== starts(4).join());
  for (let seed = 0; seed < 50; seed++) {
    const drawn = starts(seed);
    assertEquals(new Set(drawn).size, 20);
    assertEquals(drawn, drawn.toSorted((a, b) => a - b));
    assert(drawn.every((start) => start % 10 === 0 && start < 1000));
  }
  const counts = new Map<number, number>();
  for (let seed = 0; seed < 400; seed++) {
    for (const start of starts(seed)) counts.set(start, (counts.get(start) ?? 0) + 1);
  }
  // Each of 100 windows is drawn 80 times on average, with a deviation of 8.
  assert(counts.size === 100 && [...counts.values()].every((n) => n > 40 && n < 120));
});

Deno.test("the receipt says where windows are from; chats need a template", async () => {
  const lowbit = bench();
  const model = await lowbit.open("embedded");
  const recipe = presetRecipe("gptq-w4g64");
  const wanted = { ...recipe, calibration: { samples: 2, length: 32, seed: 7 } };
  const source = await fileSource(`${GOLDEN}/plain.parquet`);
  const { windows, source: from } = await lowbit.calibrationFrom(model, wanted, [{ source }]);
  assertEquals(windows.map((window) => window.length), [32, 32]);
  const { files, ...rest } = from;
  assertEquals(rest, { kinds: ["parquet"], documents: 40, samples: 2, length: 32, seed: 7 });
  assertEquals(files.map(({ name, bytes }) => [name, bytes]), [["plain.parquet", source.size]]);
  const tokenizer = lowbit.tokenizer(model);
  if (tokenizer.chatTemplate === undefined) {
    await assertRejects(
      () => lowbit.calibrationFrom(model, wanted, [{ source, field: "messages" }]),
      LowbitError,
      "plain.parquet: has chats, but the model has no chat template",
    );
  }
  source.close();
  model.close();
});

Deno.test("chats of a file are written out by the template of the model", async () => {
  using folder = temporary();
  const lowbit = bench();
  const model = await lowbit.open("embedded");
  const template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
  const sidecars = new Map(model.sidecars).set("chat_template.jinja", template);
  const recipe = { ...presetRecipe("gptq-w4g64"), calibration: { samples: 1, length: 8 } };
  const chat = [{ role: "user", content: "To be, or not to be, that is the question" }];
  const path = folder.text("c.jsonl", JSON.stringify({ messages: chat }) + "\n");
  const source = await fileSource(path);
  const { windows, source: from } = await lowbit.calibrationFrom({ ...model, sidecars }, recipe, [
    { source },
  ]);
  const ids = lowbit.tokenizer(model).encode(`user: ${chat[0].content}\n`);
  assertEquals([...windows[0]], [...ids.slice(0, 8)]);
  assertEquals(from.template, true);
  source.close();
  model.close();
});

Deno.test("verify: files, the model, a rerun; what was changed is said", async () => {
  using folder = temporary();
  const text = folder.text(
    "c.txt",
    Deno.readTextFileSync(embeddedPath("calibration.txt")).slice(5000),
  );
  const out = folder.at("out");
  const recipe = folder.text(
    "r.yaml",
    "name: small\nassign: [{ select: ['blocks.0.*'], weight: int4_g64_asym }]\n" +
      "pipeline: [{ use: gptq }]\ncalibration: { samples: 2, length: 32, seed: 5 }\n",
  );
  await runJson(["quantize", "embedded", out, "--recipe", recipe, "--calibration", text]);
  const receipt = `${out}/receipt.json`;
  const rerun = ["verify", receipt, "--model", "embedded", "--rerun"];
  const all = await runJson([...rerun, "--calibration", text]);
  assertEquals(all.ok, true);
  assertEquals(new Set(all.checks.map((c: { what: string }) => c.what)).size, 3);
  assertEquals(folder.names(), ["c.txt", "out", "r.yaml"]);
  const other = await runCli(rerun);
  assertMatch(other.stderr, /error\[MISMATCH\] calibration: .*; give c\.txt with --calibration/);
  assertEquals((await runJson(["verify", receipt], ["--allow-read"])).checks.length, 5);
  const document = JSON.parse(Deno.readTextFileSync(receipt));
  document.recipe.document.seed = 1;
  Deno.writeTextFileSync(`${out}/changed.json`, JSON.stringify(document));
  const changed = await runCli(["verify", `${out}/changed.json`]);
  assertMatch(changed.stderr, /^error\[MISMATCH\] .*recipe\.document: is not the recipe/m);
  Deno.writeTextFileSync(`${out}/config.json`, "{}");
  Deno.removeSync(`${out}/tokenizer.json`);
  const bad = await runCli(["verify", receipt]);
  assertEquals(bad.code, 1);
  assertMatch(bad.stderr, /^error\[MISMATCH\] config\.json: is different; and 1 more/m);
  assertMatch(bad.stdout, /tokenizer\.json .* missing/);
  for (
    const [args, wanted] of [
      [["verify", receipt, "--rerun"], /^error\[USAGE\] --rerun needs the checkpoint/],
      [["verify", `${out}/config.json`], /^error\[SCHEMA\] .*config\.json/],
      [["verify", text], /^error\[MALFORMED\] .*c\.txt: is not valid JSON/],
    ] as const
  ) {
    assertMatch((await runCli([...args])).stderr, wanted);
  }
});
