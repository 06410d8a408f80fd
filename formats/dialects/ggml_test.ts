import { assert, assertEquals } from "@std/assert";
import { openGolden } from "../../tests/golden.ts";
import { memoryOutput } from "../containers/output.ts";
import { GGML_PLAIN, GGML_TYPES_BY_NAME } from "../containers/gguf_types.ts";
import { writeGguf } from "../containers/gguf_writer.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { blockParts, blockType, GGML_CODED } from "./ggml_coded.ts";
import { GGML_GRIDS } from "./ggml_grids.ts";
import { openMemory, quantizeReference } from "./testing.ts";

const golden = await openGolden("ggml/ggml.safetensors");
const types = [...GGML_TYPES_BY_NAME.keys()].filter((type) => !GGML_PLAIN.has(type));

/** The golden blocks of some types as a GGUF file, one row of blocks a type. */
async function openBlocks(names: readonly string[]) {
  const entries = names.map((type) => {
    const [blocks, elements] = golden.shape(`${type}.decode.values`);
    return { name: type, shape: [blocks, elements], type };
  });
  const output = memoryOutput("golden");
  const writer = await writeGguf(await output.file("a.gguf"), new Map(), entries);
  for (const type of names) await writer.write(type, await golden.bytes(`${type}.decode.bytes`));
  await writer.finish();
  await output.commit();
  return await openMemory(output);
}

const bits = (values: Float32Array) => new Uint32Array(values.slice().buffer);

Deno.test("ggml: every block type reads as gguf and ggml read it, bit for bit", async () => {
  const checkpoint = await openBlocks(types);
  for (const type of types) {
    const wanted = await golden.f32(`${type}.decode.values`);
    const tensor = checkpoint.tensors.get(type)!;
    assertEquals(bits(await tensor.read()), bits(wanted), type);
    const [rows, columns] = tensor.shape;
    const some = await tensor.read({ start: 1, end: rows - 1 });
    assertEquals(bits(some), bits(wanted.slice(columns, (rows - 1) * columns)), type);
  }
});

Deno.test("ggml: the bytes of coded blocks come back from their codes and parameters", async () => {
  const checkpoint = await openBlocks([...GGML_CODED.keys()]);
  for (const [type, { layout }] of GGML_CODED) {
    const tensor = checkpoint.tensors.get(type)!;
    const quantized = await tensor.quantized();
    const form = layoutOf(layout);
    const [rows, columns] = quantized.shape;
    const size = { rows, columns, bits: quantized.scheme.element.bits };
    const parts = blockParts(quantized, form);
    const bytes = packMatrix(undefined, { codes: quantized.codes, parts }, size, form);
    const given = await golden.bytes(`${type}.decode.bytes`);
    if (["TQ1_0", "NVFP4"].includes(type) || form.parts!.some(({ part }) => part === "sum")) {
      // Random bytes hold sums and codes that no encoder writes; the last two blocks are ggml's own.
      const last = 2 * GGML_TYPES_BY_NAME.get(type)!.bytes;
      if (type === "Q8_1") continue; // its sums are of codes and a scale that was not yet rounded
      assertEquals(bytes.slice(-last), given.slice(-last), type);
    } else {
      assertEquals(bytes, given, type);
    }
  }
});

Deno.test("ggml: types with a fixed encoding are written as ggml writes them", async () => {
  let compared = 0;
  for (const [type, { scheme, layout }] of GGML_CODED) {
    if (!golden.names.includes(`${type}.bytes`)) continue;
    if (type === "Q8_K") continue; // another order of operations
    const [rows, columns] = golden.shape(`${type}.x`);
    const resolved = resolveScheme(scheme);
    const tensor = quantizeReference(resolved, await golden.f32(`${type}.x`), rows, columns);
    const form = layoutOf(layout);
    const size = { rows, columns, bits: resolved.element.bits };
    const parts = blockParts(tensor, form);
    const bytes = packMatrix(undefined, { codes: tensor.codes, parts }, size, form);
    assertEquals(bytes, await golden.bytes(`${type}.bytes`), type);
    compared++;
  }
  assertEquals(compared, 11);
});

Deno.test("ggml: a scheme finds its type by what its codes and parameters mean", () => {
  for (const [type, { scheme }] of GGML_CODED) assertEquals(blockType(resolveScheme(scheme)), type);
  const f16 = (base: string) => blockType(resolveScheme({ base, scale_format: "float16" }));
  assertEquals(f16("int4_g32_sym"), "Q4_0");
  assertEquals(f16("int8_g32_sym"), "Q8_0");
  assertEquals(f16("int4_g64_sym"), undefined);
  assert(!GGML_GRIDS.has("Q4_0"));
});
