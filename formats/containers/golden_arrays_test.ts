/**
 * Arrays, pickled checkpoints and ONNX files that NumPy, PyTorch and onnx wrote:
 * `tools/golden/tensors.py`, `tools/golden/onnx_files.py`.
 */

import { assertEquals, assertRejects } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { openCheckpoint } from "../open.ts";

const folder = decodeURIComponent(
  new URL("../../tests/golden/tensors/", import.meta.url).pathname,
);
const expectedOf = (path: string): [string, Wanted[]][] =>
  Object.entries<Wanted[]>(JSON.parse(Deno.readTextFileSync(`${path}expected.json`)).files)
    .map(([file, tensors]) => [path + file, tensors]);

interface Wanted {
  name: string;
  shape: number[];
  bits: number[];
}

/** Bits of values; which NaN it is differs between casts. */
const bits = (values: Float32Array | number[]) => {
  const words = Array.isArray(values) ? values : [...new Uint32Array(values.slice().buffer)];
  return words.map((word) => (word & 0x7fffffff) > 0x7f800000 ? NaN : word);
};

const onnx = folder.replace("/tensors/", "/onnx/");

for (const [file, tensors] of [...expectedOf(folder), ...expectedOf(onnx)]) {
  Deno.test(`golden ${file.replace(/^.*golden./, "")}: values and rows are those of its writer`, async () => {
    const checkpoint = await openCheckpoint(file, { pickleTensors: true });
    assertEquals([...checkpoint.tensors.keys()].sort(), tensors.map(({ name }) => name).sort());
    for (const { name, shape, bits: stored } of tensors) {
      const wanted = bits(stored);
      const tensor = checkpoint.tensors.get(name)!;
      assertEquals(tensor.shape, shape, name);
      assertEquals(bits(await tensor.read()), wanted, name);
      if (!shape.length || !shape[0]) continue;
      const inner = wanted.length / shape[0];
      const [start, end] = [shape[0] >> 1, shape[0]];
      const some = bits(await tensor.read({ start, end }));
      assertEquals(some, wanted.slice(start * inner, end * inner), name);
    }
    checkpoint.close();
  });
}

Deno.test("pickles: refused unless they are asked for, and nothing but tensors is read", async () => {
  const code = async (file: string, pickleTensors: boolean) => {
    const error = await assertRejects(
      () => openCheckpoint(folder + file, { pickleTensors }),
      LowbitError,
    );
    return [error.code, error.message.replace(folder, "")];
  };
  const refused = "is a pickled PyTorch file, which can run any code; convert it to safetensors, " +
    "or read its tensors alone with --allow-pickle-tensors";
  for (const file of ["zip.pt", "legacy.pt"]) {
    assertEquals(await code(file, false), ["UNSUPPORTED", `${file}: ${refused}`]);
  }
  assertEquals((await code("sharded", false))[0], "UNSUPPORTED");
  assertEquals(await code("code.pt", true), [
    "UNSUPPORTED",
    "code.pt: its pickle asks for __builtin__.print; only tensors are read from pickles; " +
    "convert the file to safetensors",
  ]);
});
