/** The example plugins and a new one, each in a project of its own, as a stranger would use them. */

import { assert, assertEquals } from "@std/assert";
import { ROOT } from "./process.ts";
import { temporary } from "./temporary.ts";

const PROJECTS = `${ROOT}/examples/plugins`;

/** Runs Deno in a folder; what it printed, or an error with it. */
async function deno(folder: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: folder,
    env: { NO_COLOR: "1", DENO_NO_PROMPT: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(success, `deno ${args.join(" ")}\n${out}${err}`);
  return out;
}

const COMMANDS: Record<string, (out: string) => string[]> = {
  "percentile-clip": (out) => ["quantize", "embedded", out, "--recipe", "recipe.yaml"],
  "householder-rotation": (out) => [
    ...["quantize", "embedded", out, "--recipe", "recipe.yaml", "--sandbox"],
  ],
  "attention-sink": () => [
    ...["generate", "embedded", "--prompt", "And the king said", "--tokens", "8"],
    ...["--cache", "attention-sink", "--cache-options", '{"sinks":1,"window":4}'],
  ],
};

Deno.test("every example plugin is run by its command", () => {
  const projects = [...Deno.readDirSync(PROJECTS)].map(({ name }) => name).sort();
  assertEquals(projects, Object.keys(COMMANDS).sort());
});

for (const [name, command] of Object.entries(COMMANDS)) {
  Deno.test(`example ${name}: its own tests, and a run by the command line`, async () => {
    using folder = temporary();
    const project = `${PROJECTS}/${name}`;
    await deno(project, "task", "test");
    const args = [...command(folder.at("out")), "--plugin", "./mod.ts", "--json", "--quiet"];
    const result = JSON.parse(await deno(project, "task", "lowbit", ...args));
    // Five tokens of four blocks, keys and values of 128 f32.
    if (name === "attention-sink") assertEquals(result.cache_bytes, 5 * 4 * 2 * 128 * 4);
    else assert(result.tensors.some(({ scheme }: { scheme: string }) => /^int4_g/.test(scheme)));
  });
}

Deno.test("plugins new: the project that it makes passes its own tests and checks", async () => {
  using folder = temporary();
  const run = ["run", "--allow-read", "--allow-write", `${ROOT}/cli.ts`];
  await deno(folder.path, ...run, "plugins", "new", "my-method");
  const project = folder.at("my-method");
  await deno(project, "fmt", "--check");
  await deno(project, "lint");
  await deno(project, "check", ".");
  await deno(project, "task", "test");
  const report = await deno(project, "task", "lowbit", "plugins", "test", "./mod.ts", "--json");
  assertEquals(JSON.parse(report)[0].ok, true);
});
