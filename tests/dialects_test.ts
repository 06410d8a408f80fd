/** What a package wrote, opened and written again for the same package: the same tensors. */

import { assert, assertEquals } from "@std/assert";
import manifest from "./golden/dialects/manifest.json" with { type: "json" };
import { ROOT } from "./process.ts";
import { temporary } from "./temporary.ts";

const DIALECTS = `${ROOT}/tests/golden/dialects`;

/** The targets by the beginnings of the names of cases. */
const TARGETS: readonly [prefix: string, target: string][] = [
  ["ct_", "compressed-tensors"],
  ["fp8", "fp8"],
  ["hqq_", "hqq"],
  ["quanto_", "quanto"],
];

/** Cases that a target holds in another of its formats, or not at all (axis 0 of HQQ, activation order). */
const OTHERS: readonly string[] = [
  "ct_int3",
  "ct_int4_order",
  "ct_int8",
  "ct_int8_asym",
  "hqq_4_axis0",
  "hqq_3_axis0",
];

/** The tensors of a file: type, shape and bytes, by name. */
function tensorsOf(path: string): Map<string, unknown[]> {
  const bytes = Deno.readFileSync(`${path}/model.safetensors`);
  const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  delete header.__metadata__;
  const names = Object.keys(header).sort();
  return new Map(names.map((name) => {
    const { dtype, shape, data_offsets: [from, to] } = header[name];
    return [name, [dtype, shape, bytes.slice(8 + size + from, 8 + size + to)]];
  }));
}

Deno.test("dialects: what a package wrote is written as the package writes it", async () => {
  using folder = temporary();
  const { createWorkbench } = await import("../workbench.ts");
  using lowbit = await createWorkbench();
  let compared = 0;
  for (const name of Object.keys(manifest)) {
    const target = TARGETS.find(([prefix]) => name.startsWith(prefix))?.[1];
    if (!target || OTHERS.includes(name)) continue;
    const checkpoint = await lowbit.open(`${DIALECTS}/${name}`);
    const done = await lowbit.convert({ checkpoint, to: target, out: folder.at(name) });
    assertEquals(done.tensors.map(({ kind }) => kind), ["preserved"], name);
    const [theirs, ours] = [`${DIALECTS}/${name}`, folder.at(name)].map(tensorsOf);
    assertEquals(ours, theirs, name);
    checkpoint.close();
    compared++;
  }
  assert(compared >= 17, `${compared} cases`);
});

Deno.test("dialects: GPTQ in activation order keeps its codes, scales and index", async () => {
  using folder = temporary();
  const { createWorkbench } = await import("../workbench.ts");
  using lowbit = await createWorkbench();
  for (const name of ["gptq_4_order", "gptq_4_order_asym", "gptq_8_order_v1"]) {
    const checkpoint = await lowbit.open(`${DIALECTS}/${name}`);
    await lowbit.convert({ checkpoint, to: "gptq", out: folder.at(name) });
    const [theirs, ours] = [`${DIALECTS}/${name}`, folder.at(name)].map(tensorsOf);
    for (const part of ["qweight", "scales", "g_idx"]) {
      assertEquals(ours.get(`layer.${part}`), theirs.get(`layer.${part}`), `${name}, ${part}`);
    }
    const config = JSON.parse(Deno.readTextFileSync(`${folder.at(name)}/config.json`));
    const { desc_act, group_size } = config.quantization_config;
    assertEquals([desc_act, group_size], [true, 32], name);
    checkpoint.close();
  }
});
