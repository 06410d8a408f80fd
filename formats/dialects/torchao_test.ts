import { assertEquals, assertRejects } from "@std/assert";
import { LowbitError } from "../../spec/mod.ts";
import { memoryOutput } from "../containers/output.ts";
import { writeSafetensors } from "../containers/safetensors.ts";
import { memorySource } from "../containers/source.ts";
import { openCheckpoint } from "../open.ts";

const FOLDER = `${import.meta.dirname}/../../tests/golden/torchao`;

for (const name of ["int8", "int8_g32", "intx4_g32", "intx8_asym", "fp8"]) {
  Deno.test(`torchao ${name}: every value is that of torchao`, async () => {
    const checkpoint = await openCheckpoint(`${FOLDER}/${name}`);
    const expected = await openCheckpoint(`${FOLDER}/${name}.safetensors`);
    assertEquals([checkpoint.kind, ...checkpoint.tensors.keys()], ["torchao", "layer.weight"]);
    const tensor = checkpoint.tensors.get("layer.weight")!;
    const values = await expected.tensors.get("values")!.read();
    assertEquals(await tensor.read(), values);
    assertEquals(await tensor.read({ start: 3, end: 7 }), values.slice(3 * 64, 7 * 64));
    assertEquals((await tensor.quantized()).codes.length, 24 * 64);
    checkpoint.close();
    expected.close();
  });
}

Deno.test("torchao: packed tensors are refused with advice, broken shapes by name", async () => {
  const open = async (metadata: Record<string, string>, scales: number[]) => {
    const output = memoryOutput();
    const entries = [
      { name: "layer._weight_qdata", type: "int8" as const, shape: [2, 4] },
      { name: "layer._weight_scale", type: "float32" as const, shape: scales },
    ];
    const sink = await output.file("model.safetensors");
    const writer = await writeSafetensors(sink, entries, new Map(Object.entries(metadata)));
    for (const { name, type, shape } of entries) {
      const count = shape.reduce((a, b) => a * b, 1);
      await writer.write(name, new Uint8Array(count * (type === "int8" ? 1 : 4)));
    }
    await writer.finish();
    await output.commit();
    const config = JSON.stringify({ quantization_config: { quant_method: "torchao" } });
    return await openCheckpoint([
      memorySource("model.safetensors", output.files.get("model.safetensors")!),
      memorySource("config.json", new TextEncoder().encode(config)),
    ]);
  };
  const packed = { "layer.weight": '{"_type": "Int4Tensor", "_data": {}}' };
  await assertRejects(() => open(packed, [2, 1]), LowbitError, "is a Int4Tensor of torchao");
  await assertRejects(() => open({}, [3, 1]), LowbitError, "fit no codes of [2,4]");
  assertEquals((await open({}, [2, 2])).kind, "torchao");
});
