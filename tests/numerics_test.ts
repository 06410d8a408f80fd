/** Bad numbers, as a user meets them: refused in one line, or made up for and told. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Finished, runCli } from "./process.ts";
import { changedModel, type Temporary, temporary, type Tensor, UNTIED } from "./temporary.ts";

const WINDOWS = Array.from(
  { length: 3 },
  (_, w) => Array.from({ length: 24 }, (_, i) => (w * 31 + i * i * 7 + i * 13) % 60),
);

/** Runs GPTQ on a model in a folder. */
async function quantize(
  folder: Temporary,
  model: string,
  { options = "{}", windows = WINDOWS } = {},
): Promise<Finished> {
  const recipe = folder.text(
    "recipe.yaml",
    `name: r\nassign: [{ select: ["blocks.*"], weight: int4_channel_asym }]\n` +
      `pipeline: [{ use: gptq, options: ${options} }]\ncalibration: { least_rows: 1 }\n`,
  );
  const ids = folder.text("ids.json", JSON.stringify(windows));
  return await runCli([
    ...["quantize", model, folder.at("out"), "--recipe", recipe, "--calibration", ids],
  ]);
}

const warningsOf = (folder: Temporary): string[] =>
  JSON.parse(Deno.readTextFileSync(folder.at("out/receipt.json"))).warnings;

const change =
  (name: string, values: (values: Float32Array, columns: number) => void) =>
  (tensors: Map<string, Tensor>) => {
    const tensor = tensors.get(name)!;
    values(tensor.values as Float32Array, tensor.shape[1]);
  };

Deno.test("numerics: dead input channels are told, on the screen and in the receipt", async () => {
  using folder = temporary();
  const model = await changedModel(folder.at("model"), {
    // Two rows of zeros in up are two dead inputs of down.
    tensors: change(
      "model.layers.1.mlp.up_proj.weight",
      (values, columns) => values.fill(0, 0, 2 * columns),
    ),
  });
  const { code, stderr } = await quantize(folder, model);
  assertEquals(code, 0, stderr);
  assertEquals(warningsOf(folder), ["gptq: blocks.1.mlp.down: 2 dead input channels"]);
  assert(stderr.includes("blocks.1.mlp.down: 2 dead input channels"), stderr);
});

Deno.test("numerics: damping that has to grow is told", async () => {
  using folder = temporary();
  // Fewer rows than channels: the Hessian is singular.
  const windows = [[1, 2, 3, 4, 5]];
  const { code, stderr } = await quantize(folder, UNTIED, { options: "{ damping: 0 }", windows });
  assertEquals(code, 0, stderr);
  const told = warningsOf(folder).filter((line) => /damping was raised from 0 to/.test(line));
  assert(told.length > 0);
  for (const line of told) assert(stderr.includes(line), line);
});

Deno.test("numerics: no damping that helps: rounded to nearest, and told", async () => {
  using folder = temporary();
  const windows = [[1, 2, 3, 4, 5]];
  const options = "{ damping: 0, escalations: 0 }";
  const { code, stderr } = await quantize(folder, UNTIED, { options, windows });
  assertEquals(code, 0, stderr);
  const told = warningsOf(folder).filter((line) =>
    /not positive definite at any damping; rounded to nearest/.test(line)
  );
  assert(told.length > 0);
  for (const line of told) assert(stderr.includes(line), line);
});

const REFUSED: [name: string, value: (values: Float32Array) => void, problem: RegExp][] = [
  ["a constant tensor", (values) => values.fill(0.5), /all of its values are 0\.5/],
  ["a tensor of zeros", (values) => values.fill(0), /all of its values are 0/],
  ["NaN", (values) => values[7] = NaN, /NaN|finite/],
  ["infinity", (values) => values[7] = -Infinity, /infinit|finite/i],
];

for (const [name, values, problem] of REFUSED) {
  Deno.test(`numerics: ${name} is refused in one line, and nothing is written`, async () => {
    using folder = temporary();
    const model = await changedModel(folder.at("model"), {
      tensors: change("model.layers.1.mlp.down_proj.weight", (all) => values(all)),
    });
    const { code, stderr } = await quantize(folder, model);
    assertEquals(code, 1, stderr);
    const lines = stderr.trimEnd().split("\n").filter((line) => !line.startsWith("warning"));
    assertEquals(lines.length, 1, stderr);
    assertMatch(lines[0], /^error\[(NUMERICS|NON_FINITE)\] /);
    assertMatch(lines[0], problem);
    assertMatch(lines[0], /down/);
    assert(!folder.names().includes("out"));
  });
}
