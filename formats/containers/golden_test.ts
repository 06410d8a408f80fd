/** Files of other implementations; made by tools/golden/containers.py. */

import { assert, assertEquals } from "@std/assert";
import { quantizeReference } from "../dialects/testing.ts";
import { layout, resolveScheme } from "../lookup.ts";
import { openCheckpoint } from "../open.ts";
import { referencePack } from "../pack.ts";

interface Expected {
  name: string;
  shape: number[];
  bits: number[];
  type?: string;
}

const folder = new URL("../../tests/golden/containers/", import.meta.url);
const path = (name: string) => decodeURIComponent(new URL(name, folder).pathname);
const expected = JSON.parse(Deno.readTextFileSync(path("expected.json"))) as
  & Record<string, Expected[]>
  & { versions: Record<string, string> };

/** Bits of f32 values; all NaNs are the same, since their payload differs among libraries. */
function bits(values: Float32Array): number[] {
  return [...new Uint32Array(values.slice().buffer)].map(oneNan);
}

function oneNan(value: number): number {
  return (value & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : value;
}

Deno.test("golden safetensors: every dtype reads as numpy and ml_dtypes cast it", async () => {
  const checkpoint = await openCheckpoint(path("dtypes.safetensors"));
  const wanted = expected["dtypes.safetensors"];
  assertEquals(new Set(checkpoint.tensors.keys()), new Set(wanted.map((t) => t.name)));
  for (const tensor of wanted) {
    const stored = checkpoint.tensors.get(tensor.name)!;
    assertEquals(stored.shape, tensor.shape, tensor.name);
    assertEquals(bits(await stored.read()), tensor.bits.map(oneNan), tensor.name);
  }
  checkpoint.close();
});

Deno.test("golden GGUF: tensors read as the gguf package dequantises them", async () => {
  const checkpoint = await openCheckpoint(path("golden.gguf"));
  for (const tensor of expected["golden.gguf"]) {
    const stored = checkpoint.tensors.get(tensor.name)!;
    assertEquals(stored.shape, tensor.shape, tensor.name);
    assertEquals(bits(await stored.read()), tensor.bits, tensor.name);
    const [rows, width] = [tensor.shape[0], tensor.bits.length / tensor.shape[0]];
    for (let row = 0; row < rows; row++) {
      const some = await stored.read({ start: row, end: row + 1 });
      assertEquals(bits(some), tensor.bits.slice(row * width, (row + 1) * width), tensor.name);
    }
  }
  checkpoint.close();
});

Deno.test("golden GGUF: metadata of every type", async () => {
  const checkpoint = await openCheckpoint(path("golden.gguf"));
  const value = (key: string) => checkpoint.gguf!.get(key)?.value;
  assertEquals(value("general.architecture"), "llama");
  assertEquals(value("t.uint8"), 255);
  assertEquals(value("t.int8"), -128);
  assertEquals(value("t.uint16"), 65535);
  assertEquals(value("t.int16"), -32768);
  assertEquals(value("t.uint32"), 2 ** 32 - 1);
  assertEquals(value("t.int32"), -(2 ** 31));
  assertEquals(value("t.float32"), Math.fround(0.1));
  assertEquals(value("t.float64"), 0.1);
  assertEquals(value("t.uint64"), 2n ** 64n - 1n);
  assertEquals(value("t.int64"), -(2n ** 63n));
  assertEquals(value("t.bool"), true);
  assertEquals(value("t.string"), "größer");
  assertEquals(value("t.strings"), ["a", "", "▁b"]);
  assertEquals(checkpoint.gguf!.get("t.ints"), {
    type: "array",
    items: "int32",
    value: [1, -2, 3],
  });
  assertEquals(value("t.floats"), [0.5, -0.25]);
  assertEquals("t.strings" in checkpoint.config, false);
  assertEquals(checkpoint.config["t.string"], "größer");
  checkpoint.close();
});

Deno.test("golden compressed-tensors: weights read as its own decompressor gives them", async () => {
  const checkpoint = await openCheckpoint(path("compressed_tensors"));
  assertEquals(checkpoint.kind, "compressed-tensors");
  const wanted = expected.compressed_tensors;
  assertEquals(checkpoint.tensors.size, wanted.length);
  for (const tensor of wanted) {
    const stored = checkpoint.tensors.get(tensor.name)!;
    assertEquals(stored.shape, tensor.shape);
    assertEquals(bits(await stored.read()), tensor.bits, tensor.name);
    const some = await stored.read({ start: 3, end: 5 });
    assertEquals(bits(some), tensor.bits.slice(3 * 64, 5 * 64), tensor.name);
  }
  checkpoint.close();
});

Deno.test("golden files name the versions that made them", () => {
  for (const name of ["numpy", "ml_dtypes", "safetensors", "gguf", "compressed-tensors"]) {
    assert(/^\d+\.\d+/.test(expected.versions[name]), name);
  }
});

Deno.test("golden GGUF: our own quantisation and packing give the bytes of the gguf package", async () => {
  const checkpoint = await openCheckpoint(path("golden.gguf"));
  const x = await checkpoint.tensors.get("f32")!.read();
  for (const [id, form] of [["q8_0", "ggml_q8_0"], ["q4_0", "ggml_q4_0"], ["q4_1", "ggml_q4_1"]]) {
    const { codes, parameters, scheme } = quantizeReference(resolveScheme(id), x, 4, 96);
    const packed = { codes, parts: { scale: parameters.scales, minimum: parameters.zeros } };
    const size = { rows: 4, columns: 96, bits: scheme.element.bits };
    const bytes = referencePack(packed, size, layout(form));
    const wanted = await checkpoint.tensors.get(id)!.raw();
    // The scale of the one block that is all zero is -0 in Q4_0 there: the fifth block of 18 bytes.
    if (id === "q4_0") {
      assertEquals([...wanted.subarray(4 * 18, 4 * 18 + 2)], [0, 0x80]);
      wanted[4 * 18 + 1] = bytes[4 * 18 + 1];
    }
    assert(bytes.every((byte, i) => byte === wanted[i]) && bytes.length === wanted.length, id);
  }
  checkpoint.close();
});
