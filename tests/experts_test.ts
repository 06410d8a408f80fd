/** Mixtures of experts through the command line: what each expert saw, and who fell back. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { openCheckpoint } from "../formats/open.ts";
import { runCli, runJson } from "./process.ts";
import { type Temporary, temporary } from "./temporary.ts";

const FOLDER = `${import.meta.dirname}/golden/architectures`;

/** The arguments of a run; experts with fewer than `least` rows fall back. */
function args(folder: Temporary, name: string, out: string, use: string, least: number): string[] {
  const recipe = folder.text(
    `${use}.yaml`,
    `name: ${use}\nassign: [{ select: ["blocks.*"], weight: int4_channel_asym }]\n` +
      `pipeline: [{ use: ${use} }]\ncalibration: { samples: 3, length: 24, least_rows: ${least} }\n`,
  );
  const windows = Array.from(
    { length: 3 },
    (_, w) => Array.from({ length: 24 }, (_, i) => (w * 31 + i * i * 7 + i * 13) % 60),
  );
  const ids = folder.text("ids.json", JSON.stringify(windows));
  return [
    ...["quantize", `${FOLDER}/${name}`, folder.at(out), "--recipe", recipe],
    ...use === "rtn" ? [] : ["--calibration", ids],
  ];
}

interface Row {
  name: string;
  rows?: number;
}

for (const name of ["mixtral", "qwen2-moe"]) {
  Deno.test(`experts of ${name}: counted, and told where they fall back to rounding`, async () => {
    using folder = temporary();
    const counted = await runJson(args(folder, name, "counted", "gptq", 1));
    const experts = counted.tensors.filter(({ rows }: Row) => rows !== undefined) as Required<
      Row
    >[];
    assert(experts.length >= 8, `${experts.length} experts`);
    assert(experts.every((row) => /expert/.test(row.name)));
    const seen = [...new Set(experts.map(({ rows }) => rows))].sort((a, b) => a - b);
    assert(seen.length > 1 && seen.at(-1)! < 72, seen.join(" "));
    // The middle of what was seen as the least: some fall back, some do not.
    const least = seen[seen.length >> 1];
    const { code, stderr } = await runCli(args(folder, name, "some", "gptq", least));
    assertEquals(code, 0, stderr);
    const receipt = JSON.parse(Deno.readTextFileSync(folder.at("some/receipt.json")));
    const starved = receipt.tensors.filter(({ rows }: Row) => rows !== undefined && rows < least);
    const told = receipt.warnings.filter((line: string) => /rounded to nearest/.test(line));
    assertEquals(told.length, starved.length);
    assert(starved.length > 0 && starved.length < experts.length);
    for (const line of told) {
      assertMatch(
        line,
        new RegExp(
          `^gptq: blocks\\.\\d+\\..*experts.*: saw \\d+ of 72 calibration rows, fewer than ${least};`,
        ),
      );
      assert(stderr.includes(line), "said on the screen");
    }
    const rounded = await runCli(args(folder, name, "rounded", "rtn", 1));
    assertEquals(rounded.code, 0, rounded.stderr);
    const [some, nearest, all] = await Promise.all(
      ["some", "rounded", "counted"].map((out) => openCheckpoint(folder.at(out))),
    );
    let others = 0;
    for (const { name: tensor, rows } of experts) {
      const [a, b, c] = await Promise.all(
        [some, nearest, all].map((model) => model.tensors.get(tensor)!.quantized()),
      );
      assertEquals(a.codes, rows < least ? b.codes : c.codes, tensor);
      if (b.codes.some((value, i) => value !== c.codes[i])) others++;
    }
    assert(others > experts.length / 2, "gptq is not rounding");
    for (const model of [some, nearest, all]) model.close();
  });
}

Deno.test("experts that no token reached: gptq rounds them, static scales are refused", async () => {
  using folder = temporary();
  const ids = folder.text("few.json", "[[1, 1]]");
  const given = args(folder, "mixtral", "out", "gptq", 1);
  const { code, stderr } = await runCli([...given.slice(0, -1), ids]);
  assertEquals(code, 0, stderr);
  assertMatch(stderr, /experts\.\d+\.up: saw 0 of 2 calibration rows/);
  const recipe = folder.text(
    "static.yaml",
    'name: s\nassign: [{ select: ["blocks.*"], weight: int8_channel_sym, activation: ' +
      "int8_tensor_static }]\npipeline: [{ use: rtn }]\n",
  );
  const refused = await runCli([
    ...["quantize", `${FOLDER}/mixtral`, folder.at("static"), "--recipe", recipe],
    ...["--calibration", ids],
  ]);
  assertEquals(refused.code, 1);
  assertMatch(refused.stderr.trimEnd(), /^error\[[A-Z]+\] [^\n]*was never reached[^\n]*$/);
  assert(!folder.names().includes("static"));
});
