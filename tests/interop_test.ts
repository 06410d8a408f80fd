/**
 * The part of the interoperability check that needs no Python: decoders that lowbit wrote, run by
 * onnxruntime-web, which is fetched from npm. All of it is `deno task interop`.
 */

import { assertEquals, assertMatch } from "@std/assert";
import { ROOT } from "./process.ts";

Deno.test("onnxruntime-web runs what lowbit writes, with the same perplexity", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--allow-all", "tools/interop/run.ts"],
      ...["--runtime", "onnxruntime-web", "--windows", "1"],
    ],
    cwd: ROOT,
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  for (const recipe of ["rtn-w4g64", "full-precision"]) {
    assertMatch(text, new RegExp(`\\| ${recipe} +\\| onnx .* onnxruntime-web .* equal `));
  }
});
