/** The queue's command used wrongly; what it does with a real Redis is in redis_test.ts. */

import { assertEquals, assertMatch } from "@std/assert";
import { runCli, WRITE } from "./process.ts";
import { temporary } from "./temporary.ts";

const QUEUE = [...WRITE, "--allow-env", "--allow-net=127.0.0.1"];

Deno.test("worker: wrong addresses, files and jobs end in one line", async (t) => {
  using place = temporary();
  const url = ["--queue", "redis://127.0.0.1:1"]; // nobody listens there
  const jobs = (text: string) => [...url, "--submit", place.text("jobs.json", text)];
  const cases: [words: () => string[], code: number, message: RegExp][] = [
    [() => [], 2, /^error\[USAGE\] --queue is missing/],
    [() => ["--queue", "127.0.0.1"], 2, /--queue must be an address of Redis; write redis:/],
    [() => ["--queue", "http://127.0.0.1"], 2, /--queue must be an address of Redis/],
    [() => url, 1, /^error\[IO\] 127\.0\.0\.1:1: cannot reach the queue: .*; start a Redis server/],
    [
      () => ["--queue", "redis://192.0.2.1:6379"],
      1,
      /^error\[IO\] 192\.0\.2\.1:6379: .*--allow-net/,
    ],
    [() => [...url, "--drain", "--submit", "x"], 2, /--submit and --drain exclude each other/],
    [() => [...url, "--submit", "absent.json"], 1, /^error\[IO\] absent\.json: cannot be read/],
    [() => jobs("[["), 1, /^error\[MALFORMED\] .*jobs\.json: is not JSON/],
    [() => jobs("[]"), 1, /^error\[SCHEMA\] .*must be an array of 1 to 100000/],
    [() => jobs("{}"), 1, /^error\[SCHEMA\] .*must be an array/],
    [() => jobs('[["eval"], [1]]'), 1, /^error\[SCHEMA\] .*\[1\]: must be 1 to 1000 words/],
    [() => jobs("[[]]"), 1, /^error\[SCHEMA\] .*\[0\]: must be 1 to 1000 words/],
    [() => jobs("[null]"), 1, /^error\[SCHEMA\] .*\[0\]: must be 1 to 1000 words/],
    [
      () => jobs('[["quantise"]]'),
      1,
      /^error\[UNKNOWN_NAME\] .*unknown command of jobs "quantise"; did you mean "quantize"\?/,
    ],
    [() => jobs('[["worker"]]'), 1, /^error\[UNKNOWN_NAME\]/],
    [
      () => jobs('[["eval", "m", "--plugin", "x"]]'),
      1,
      /^error\[UNSUPPORTED\] .*may not bring code/,
    ],
    [() => jobs('[["eval", "m", "--allow-pickle-tensors"]]'), 1, /^error\[UNSUPPORTED\]/],
  ];
  for (const [words, code, message] of cases) {
    await t.step(`${message}`, async () => {
      const run = await runCli(["worker", ...words()], QUEUE);
      assertMatch(run.stderr.trimEnd(), message);
      assertEquals([run.code, run.stdout, run.stderr.trimEnd().split("\n").length], [code, "", 1]);
    });
  }
});
