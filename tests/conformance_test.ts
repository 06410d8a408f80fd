/** Our codecs against the conformance vectors that other implementations made. */

import { assert, assertEquals } from "@std/assert";
import { createCodecs } from "../formats/codec.ts";
import { runEntry } from "../formats/conformance/ours.ts";
import { openVectors } from "../formats/conformance/vectors.ts";
import { layouts, numberFormats, schemes } from "../formats/lookup.ts";
import { decodeTable } from "../formats/reference.ts";
import { loadKernels, referenceKernels } from "../kernels-wasm/mod.ts";
import { compareRandom } from "../tools/conformance/random.ts";
import { ROOT } from "./process.ts";
import { NO_ORACLE } from "./no_oracle.ts";

const vectors = await openVectors(`${ROOT}/conformance`);
const { entries, files } = vectors.manifest;

for (const name of ["reference", "wasm"]) {
  Deno.test(`every conformance vector holds: ${name}`, async (t) => {
    const kernels = name === "wasm" ? await loadKernels() : referenceKernels();
    const engine = { kernels, codecs: createCodecs(kernels), reference: name === "reference" };
    for (const kind of ["number", "scheme", "layout"] as const) {
      await t.step(`${kind}s`, async () => {
        const reports = [];
        for (const entry of entries.filter((entry) => entry.kind === kind)) {
          reports.push(await runEntry(vectors, entry, engine));
        }
        assertEquals(reports.filter(({ failed }) => failed > 0), []);
        const ran = reports.filter(({ skipped }) => skipped === undefined);
        assert(ran.length >= { number: 90, scheme: 50, layout: 8 }[kind], `only ${ran.length} ran`);
        assert(ran.every(({ cases }) => cases > 0), "an entry compares nothing");
      });
    }
  });
}

Deno.test("every format, scheme and layout has an entry that runs, or a reason why not", () => {
  const run = new Set(
    entries.filter(({ skip }) => !skip).map(({ kind, id }) => `${kind} ${id}`),
  );
  const all = [
    ...numberFormats.ids().map((id) => `number ${id}`),
    ...schemes.ids().map((id) => `scheme ${id}`),
    ...layouts.ids().map((id) => `layout ${id}`),
  ];
  const missing = all.filter((id) => !run.has(id));
  assertEquals(missing.sort(), Object.keys(NO_ORACLE).sort());
});

Deno.test("every number format has 4,000 encode cases and its whole table", async () => {
  for (const id of numberFormats.ids().filter((id) => !(`number ${id}` in NO_ORACLE))) {
    const format = numberFormats.get(id);
    let cases = 0;
    let table = false;
    for (const entry of entries.filter((entry) => entry.kind === "number" && entry.id === id)) {
      const { x, table: values } = await vectors.tensors(entry);
      if (!entry.skip) cases += x!.values.length;
      table ||= values?.values.length === 2 ** format.bits;
    }
    assert(cases >= 4000, `${id}: ${cases} cases`);
    assert(table, `${id}: no table`);
  }
});

Deno.test("the vectors are adversarial, and the oracles disagree where they are known to", async () => {
  const tensors = async (name: string) =>
    await vectors.tensors(entries.find((entry) => entry.name === name)!);
  const { x } = await tensors("float8_e4m3fn/ml_dtypes");
  const bits = new Uint32Array(x!.bytes.buffer);
  const nan = (v: number) => (v & 0x7fffffff) > 0x7f800000;
  const subnormal = (v: number) => (v & 0x7f800000) === 0 && (v & 0x7fffff) !== 0;
  const count = (holds: (v: number) => boolean) => bits.filter(holds).length;
  assert(count((v) => nan(v) && v >= 2 ** 31) >= 8 && count((v) => nan(v) && v < 2 ** 31) >= 8);
  assert(count(subnormal) > 100);
  for (const special of [0, 0x80000000, 0x7f800000, 0xff800000]) {
    assert(bits.includes(special), special.toString(16));
  }
  const code = async (name: string, value: number) => {
    const found = await tensors(name);
    return found.codes!.values[found.x!.values.indexOf(value)];
  };
  assertEquals(await code("float8_e4m3fn/ml_dtypes", Infinity), 0x7f);
  assertEquals(await code("float8_e4m3fn/torch", Infinity), 0x7e);
  assertEquals(await code("float8_e5m2/torch", Infinity), 0x7c);
  assertEquals(await code("float8_e5m2/onnxruntime", Infinity), 0x7b);
});

Deno.test("vectors that are wrong are noticed", async () => {
  const entry = entries.find(({ name }) => name === "float4_e2m1fn/ml_dtypes")!;
  const kernels = referenceKernels();
  const engine = { kernels, codecs: createCodecs(kernels), reference: true };
  const wrong = { ...entry, cast: { ...entry.cast, rounding: "half_toward_zero" } };
  const { failed, first } = await runEntry(vectors, wrong, engine);
  assert(failed > 0 && /codes\[\d+\] of \S+ is \d+, expected \d+/.test(first!), first);
});

Deno.test("shipped vectors stay below ten megabytes, and name who made them", () => {
  const bytes = [...files, "manifest.json"]
    .reduce((sum, file) => sum + Deno.statSync(`${ROOT}/conformance/${file}`).size, 0);
  assert(bytes < 10e6, `${bytes} bytes`);
  for (const { name, oracle, hold, excluded = [] } of entries) {
    assert(oracle.call.length > 3, name);
    assert(hold === "exact" || Object.values(hold).length > 0, name);
    assert(excluded.every((text) => text.length > 10 || text === "NaN"), name);
  }
  const names = entries.map(({ name }) => name);
  const readme = Deno.readTextFileSync(`${ROOT}/conformance/README.md`);
  const table = readme.slice(readme.indexOf("## Where"), readme.indexOf("## Make"));
  for (const [, name] of table.matchAll(/`([a-z]\w+\/[\w/]+)`/g)) {
    assert(names.includes(name), name);
  }
  assertEquals(new Set(names).size, names.length);
});

Deno.test("tables of the oracles are the tables of the catalog", async () => {
  const exact = entries.filter(({ kind, hold, skip }) =>
    kind === "number" && hold === "exact" && !skip
  );
  for (const entry of exact) {
    const { table } = await vectors.tensors(entry);
    if (!table || !numberFormats.has(entry.id)) continue;
    const ours = decodeTable(numberFormats.get(entry.id));
    ours.forEach((value, i) =>
      assert(Object.is(value, table.values[i]), `${entry.name}: code ${i}`)
    );
  }
});

Deno.test("random numbers: WASM equals the reference, codes and values", async () => {
  const kernels = await loadKernels();
  const reports = numberFormats.ids().map((id) =>
    compareRandom(kernels, numberFormats.get(id), 1 << 16)
  );
  const left = numberFormats.ids().filter((_, i) => reports[i] === undefined);
  assert(left.every((id) => numberFormats.get(id).bits > 8), left.join());
  const ran = reports.filter((report) => report !== undefined);
  assertEquals(ran.filter(({ failed }) => failed > 0), []);
  assert(ran.every(({ cases }) => cases > 1 << 16));
});

Deno.test("the report of the vectors names every entry", () => {
  const text = Deno.readTextFileSync(`${ROOT}/docs/generated/conformance.md`);
  assertEquals(entries.filter(({ name }) => !text.includes(`| ${name} |`)), []);
  assertEquals(numberFormats.ids().filter((id) => !text.includes(`| ${id} |`)), []);
  assert(!text.includes("FAILED"));
});
