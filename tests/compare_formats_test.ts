/** Formats ranked by their error on the shipped model's weights. */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { compareFormats } from "../engine/compare_formats.ts";
import { resolveScheme } from "../formats/lookup.ts";
import { openCheckpoint } from "../formats/open.ts";
import { embeddedPath } from "../embedded/mod.ts";
import { openModel } from "../models/architecture.ts";
import { openBench } from "./bench.ts";

Deno.test("at equal bits, quantile tables beat floats, and floats beat powers of two", async () => {
  const { kernels, codecs } = await openBench();
  const checkpoint = await openCheckpoint(embeddedPath("model"), { kernels, codecs });
  const granularity = { kind: "group", size: 64 } as const;
  const of = (element: string) => resolveScheme({ base: "int8_channel_sym", element, granularity });
  const elements = ["power_of_two4", "nf4", "float4_e2m1fn", "int3"];
  const scores = await compareFormats({
    model: openModel(checkpoint),
    schemes: elements.map(of),
    codecs,
  });
  checkpoint.close();
  assertEquals(scores.map(({ scheme }) => scheme.replace("_g64_sym", "")), [
    "nf4",
    "float4_e2m1fn",
    "int3",
    "power_of_two4",
  ]);
  for (const { scheme, bits_per_weight, sqnr_db, equal_bits_db, relative_error } of scores) {
    // 4 or 3 bits a code, and an f32 scale for each 64 of them.
    assertEquals(bits_per_weight, (scheme.startsWith("int3") ? 3 : 4) + 32 / 64);
    assertAlmostEquals(equal_bits_db, sqnr_db - 6.0206 * (bits_per_weight - 3.5), 0.01);
    assertAlmostEquals(sqnr_db, -10 * Math.log10(relative_error), 0.01);
    assert(sqnr_db > 8 && sqnr_db < 30);
  }
});
