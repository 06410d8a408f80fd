/** Multiple choice and needles, as the command line has them. */

import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { PythonRandom } from "../cli/python_random.ts";
import { choiceWindow } from "../engine/choices.ts";
import { READ, ROOT, runCli, runJson } from "./process.ts";
import { temporary } from "./temporary.ts";

const TASK = `${ROOT}/tests/tasks/next_words.jsonl`;

Deno.test("a task has the scores and the likelihoods of lm-evaluation-harness", async () => {
  const golden = JSON.parse(await Deno.readTextFile(`${ROOT}/tests/golden/harness.json`));
  const files = [
    [TASK, golden],
    [TASK.replace(/jsonl$/, "yaml"), golden],
    // Templates in Jinja, a description, and two examples before each question.
    [TASK.replace(/\.jsonl$/, "_2shot.yaml"), golden.two_shot],
  ];
  for (const [file, wanted] of files) {
    const { tasks: [scored] } = await runJson(["eval", "embedded", "--task", file], READ);
    for (const name of ["acc", "acc_stderr", "acc_norm", "acc_norm_stderr"]) {
      assertAlmostEquals(scored[name], wanted[name], 1e-12, name);
    }
    wanted.loglikelihoods.flat().forEach((value: number, i: number) =>
      assertAlmostEquals(scored.loglikelihoods.flat()[i], value, 2e-4 * Math.abs(value) + 1e-4)
    );
  }
});

Deno.test("samples are those of Python", () => {
  // CPython 3.11: r = random.Random(1234), then r.sample(range(n), k)
  const random = new PythonRandom(1234);
  const sample = (n: number, k: number) => random.sample(Array.from({ length: n }, (_, i) => i), k);
  assertEquals([sample(20, 3), sample(20, 3)], [[14, 3, 0], [2, 18, 1]]);
  assertEquals(sample(20, 3), [2, 3, 11]);
  assertEquals([sample(300, 3), sample(300, 3)], [[121, 8, 15], [8, 177, 247]]);
  assertEquals(sample(1000, 9), [630, 474, 152, 93, 187, 730, 117, 865, 14]);
});

Deno.test("a broken task says where", async () => {
  using folder = temporary();
  const lines: [string, string][] = [
    ['{"query": "a", "choices": ["b", "c"]}', "none of the choices"],
    ['{"query": "a", "choices": ["b"], "gold": 0}', "at least two choices"],
    ['{"query": "a", "choices": ["b", "c"], "gold": 2}', "none of the choices"],
    ["{", "is not JSON"],
  ];
  for (const [i, [line, problem]] of lines.entries()) {
    const path = folder.text(`${i}.jsonl`, `\n${line}\n`);
    const { code, stderr } = await runCli(["eval", "embedded", "--task", path], READ);
    assertEquals(code, 1);
    assertStringIncludes(stderr, `${path}:2`);
    assertStringIncludes(stderr, problem);
  }
});

Deno.test("blanks before a choice are scored with it, and what is too long loses its front", () => {
  const tokenizer = {
    encode: (text: string) => Int32Array.from(text, (c) => c.charCodeAt(0)),
    eos: 7,
  };
  const { window, from } = choiceWindow(tokenizer, "ab ", "c", 10);
  assertEquals([String.fromCharCode(...window), from], ["ab c", 2]);
  const cut = choiceWindow(tokenizer, "abcdef", "gh", 4);
  assertEquals([String.fromCharCode(...cut.window), cut.from], ["efgh", 2]);
  const empty = choiceWindow(tokenizer, "", "gh", 4);
  assertEquals([[...empty.window], empty.from], [[7, 103, 104], 1]);
});

Deno.test("needles: a cell for each length and depth, the same for the same seed", async () => {
  const args = ["eval", "embedded", "--needle", `${ROOT}/embedded/evaluation.txt`];
  args.push("--needle-lengths", "96,160", "--needle-depths", "0,1", "--needle-trials", "3");
  const { needle } = await runJson(args, READ);
  assertEquals(
    needle.cells.map(({ length, depth }: { length: number; depth: number }) =>
      `${length} ${depth}`
    ),
    ["96 0", "96 1", "160 0", "160 1"],
  );
  for (const { found, trials } of needle.cells) assert(found >= 0 && found <= 1 && trials === 3);
  assertEquals((await runJson(args, READ)).needle, needle);
});
