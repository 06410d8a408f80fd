import { assertEquals, assertNotEquals } from "@std/assert";
import { openBench } from "../../tests/bench.ts";
import { RowSample } from "./row_sample.ts";

const bench = await openBench();
const [columns, total] = [5, 200];
const random = bench.rng("rows");
const rows = Array.from(
  { length: total },
  () => Float32Array.from({ length: columns }, () => random.normal()),
);

/** A sample of some rows, in batches of a size. */
function sampleOf(some: Float32Array[], count: number, batch: number): RowSample {
  const sample = new RowSample(count);
  for (let i = 0; i < some.length; i += batch) {
    const part = some.slice(i, i + batch);
    using x = bench.kernels.upload(Float32Array.from(part.flatMap((row) => [...row])));
    sample.add(x, part.length, columns);
  }
  return sample;
}

Deno.test("row sample: neither batches nor order matter, and merging is adding", () => {
  const all = sampleOf(rows, 32, 200).value();
  assertEquals(all.length, 32 * columns);
  assertEquals(sampleOf(rows, 32, 7).value(), all);
  assertEquals(sampleOf(rows.toReversed(), 32, 50).value(), all);
  const [a, b] = [sampleOf(rows.slice(0, 90), 32, 90), sampleOf(rows.slice(90), 32, 30)];
  b.merge(a);
  assertEquals(b.value(), all);
});

Deno.test("row sample: it is a sample of the rows, from all over", () => {
  const value = sampleOf(rows, 32, 200).value();
  const places = Array.from({ length: 32 }, (_, i) => {
    const row = value.subarray(i * columns, (i + 1) * columns);
    return rows.findIndex((other) => other.every((v, j) => v === row[j]));
  });
  assertEquals(new Set(places).size, 32);
  assertEquals(places.includes(-1), false);
  assertNotEquals(places.filter((place) => place < 100).length, 0);
  assertNotEquals(places.filter((place) => place >= 100).length, 0);
});

Deno.test("row sample: fewer rows than asked for are all there; equal ones once", () => {
  assertEquals(sampleOf(rows.slice(0, 3), 32, 3).value().length, 3 * columns);
  assertEquals(sampleOf([rows[0], rows[0], rows[1]], 32, 2).value().length, 2 * columns);
  assertEquals(new RowSample(4).value().length, 0);
});
