/**
 * Tests of input that must be refused: one clear line, exit code 1, nothing left behind.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { ROOT, runCli } from "./process.ts";
import { changedModel, type Temporary, temporary, type Tensor, UNTIED } from "./temporary.ts";

/** The arguments of a command, which may need files in a folder. */
export type Make = (folder: Temporary) => string[] | Promise<string[]>;

/**
 * A test for each case: its name, the line after `error[` that it must lead to (`DIR` stands for
 * the folder of the test, `ROOT` for the repository), and its arguments.
 */
export function testRefusals(cases: readonly (readonly [string, RegExp, Make])[]): void {
  for (const [name, line, make] of cases) {
    Deno.test(`refused: ${name}`, async () => {
      using folder = temporary();
      const args = await make(folder);
      const before = folder.names();
      const { code, stdout, stderr } = await runCli(args);
      assertEquals([code, stdout], [1, ""], stderr);
      const shown = stderr.replaceAll(folder.path, "DIR").replaceAll(ROOT, "ROOT").trimEnd();
      const lines = shown.split("\n");
      assertMatch(lines.at(-1)!, /^error\[[A-Z_]+\] /);
      assertMatch(lines.at(-1)!.slice("error[".length), line);
      // Before it there may be lines about stages that are complete.
      assert(lines.slice(0, -1).every((line) => /^[a-z]+: \d+ done( \(\w+\))?$/.test(line)), shown);
      assertEquals(folder.names(), before, "something was left behind");
    });
  }
}

/** `quantize MODEL DIR/out --recipe rtn-w4g32 ...`, unless another recipe is given. */
export function quantize(model: string, folder: Temporary, ...more: string[]): string[] {
  const recipe = more.includes("--recipe") ? [] : ["--recipe", "rtn-w4g32"];
  return ["quantize", model, folder.at("out"), ...recipe, ...more];
}

/** Quantises a tiny model whose settings or tensors are changed. */
export function withModel(change: Parameters<typeof changedModel>[1]): Make {
  return async (folder) => quantize(await changedModel(folder.at("model"), change), folder);
}

/** Quantises a tiny model with one tensor replaced. */
export function withTensor(name: string, change: (tensor: Tensor) => Tensor): Make {
  return withModel({ tensors: (all) => void all.set(name, change(all.get(name)!)) });
}

/** Quantises a tiny model with the bytes of a file changed. */
export function withBytes(
  file: "config.json" | "model.safetensors" | "model.gguf",
  change: (bytes: Uint8Array) => Uint8Array,
): Make {
  return (folder) => {
    Deno.mkdirSync(folder.at("model"));
    const names = file === "model.gguf" ? [file] : ["config.json", "model.safetensors"];
    for (const name of names) Deno.copyFileSync(`${UNTIED}/${name}`, folder.at(`model/${name}`));
    const path = folder.at(`model/${file}`);
    Deno.writeFileSync(path, change(Deno.readFileSync(path)));
    return quantize(folder.at("model"), folder);
  };
}
