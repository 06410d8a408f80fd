/**
 * Packed dialects against the packages that own them (tools/golden/dialects.py).
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Checkpoint, LowbitError } from "../../spec/mod.ts";
import { openGolden } from "../../tests/golden.ts";
import manifest from "../../tests/golden/dialects/manifest.json" with { type: "json" };
import { decodePlain, encodePlain } from "../containers/plain.ts";
import { memorySource } from "../containers/source.ts";
import { openCheckpoint } from "../open.ts";

const folder = new URL("../../tests/golden/dialects/", import.meta.url).pathname;
const golden = await openGolden("dialects/expected.safetensors");

const WEIGHT = "layer.weight";

/** How far two f32 numbers are apart, in units in the last place. */
function apart(a: Float32Array, b: Float32Array): number {
  const [x, y] = [new Int32Array(a.buffer, a.byteOffset, a.length), new Int32Array(b.buffer)];
  return x.reduce(
    (most, bits, i) => a[i] === b[i] ? most : Math.max(most, Math.abs(bits - y[i])),
    0,
  );
}

Deno.test("packed dialects: values are those of the packages", async () => {
  let compared = 0;
  for (const [name, { close }] of Object.entries(manifest)) {
    const checkpoint = await openCheckpoint(`${folder}${name}`);
    assertEquals([...checkpoint.tensors.keys()], [WEIGHT], name);
    const stored = checkpoint.tensors.get(WEIGHT)!;
    const expected = Float32Array.from(await golden.f32(`${name}/${WEIGHT}`));
    assertEquals(stored.shape, golden.shape(`${name}/${WEIGHT}`), name);
    assertEquals(stored.storage.kind, "coded", name);
    const values = await stored.read();
    const rounded = close === "bfloat16"
      ? decodePlain("bfloat16", encodePlain("bfloat16", values))
      : values;
    const most = apart(rounded, expected);
    assert(most <= (close === "ulp" ? 1 : 0), `${name}: ${most} units in the last place`);

    const [rows] = stored.shape;
    const columns = values.length / rows;
    const { shape, codes } = await stored.quantized();
    const width = stored.shape[stored.shape.length - 1];
    assertEquals([shape, codes.length], [[values.length / width, width], values.length], name);
    for (const [start, end] of [[0, 1], [5, 17], [rows - 3, rows], [4, 4]]) {
      const some = await stored.read({ start, end });
      assertEquals(
        some,
        values.slice(start * columns, end * columns),
        `${name}, ${start} to ${end}`,
      );
    }
    checkpoint.close();
    compared++;
  }
  assert(compared > 30);
});

/** A case with changed settings. */
async function changed(
  name: string,
  change: (settings: Record<string, unknown>) => void,
): Promise<Checkpoint> {
  const config = JSON.parse(await Deno.readTextFile(`${folder}${name}/config.json`));
  change(config.quantization_config);
  return await openCheckpoint([
    memorySource("config.json", new TextEncoder().encode(JSON.stringify(config))),
    memorySource("model.safetensors", await Deno.readFile(`${folder}${name}/model.safetensors`)),
  ]);
}

Deno.test("packed dialects: settings that contradict the tensors are refused", async () => {
  const refused: [string, Record<string, unknown>, string][] = [
    ["gptq_4_asym_v2", { quant_method: "magic" }, "cannot be read"],
    ["gptq_4_asym_v2", { checkpoint_format: "exl2" }, "cannot be read"],
    ["gptq_4_asym_v2", { group_size: 24 }, "in groups of 24"],
    ["gptq_4_asym_v2", { group_size: 0 }, "not a number from 1"],
    ["awq_gemm", { version: "exllama" }, "cannot be read"],
    ["awq_gemm", { version: "marlin" }, "has scales of"],
    ["awq_gemm", { bits: 3 }, "cannot be read"],
    ["awq_gemm", { group_size: 16 }, "expected"],
    ["ct_int3", { format: "marlin-24" }, "cannot be read"],
    ["fp8", { weight_block_size: [16, 16] }, "expected"],
    ["fp8", { weight_block_size: 16 }, "not two sizes"],
  ];
  for (const [name, settings, message] of refused) {
    const work = () => changed(name, (config) => Object.assign(config, settings));
    await assertRejects(work, LowbitError, message);
  }
  const contradicted: [string, Record<string, unknown>, string][] = [
    ["gptq_4_sym_v1", { checkpoint_format: "gptq_v2" }, "has a zero point of 7"],
    ["gptq_4_order", { desc_act: false }, "desc_act: false"],
  ];
  for (const [name, settings, message] of contradicted) {
    const checkpoint = await changed(name, (config) => Object.assign(config, settings));
    const work = () => checkpoint.tensors.get(WEIGHT)!.read();
    await assertRejects(work, LowbitError, message);
  }
});

Deno.test("packed dialects: rows in a row are read alone", async () => {
  for (const name of ["bitsandbytes_nf4", "ct_fp8", "fp8", "awq_gemv", "quanto_qint8"]) {
    const bytes = await Deno.readFile(`${folder}${name}/model.safetensors`);
    const source = memorySource("model.safetensors", bytes);
    let read = 0;
    const counted = {
      name: source.name,
      size: source.size,
      close() {},
      read(offset: number, length: number) {
        read += length;
        return source.read(offset, length);
      },
    };
    const config = await Deno.readFile(`${folder}${name}/config.json`);
    const checkpoint = await openCheckpoint([memorySource("config.json", config), counted]);
    const stored = checkpoint.tensors.get(WEIGHT)!;
    read = 0;
    await stored.read({ start: 0, end: 4 });
    assert(read < stored.bytes / 2, `${name}: ${read} of ${stored.bytes} bytes`);
  }
});
