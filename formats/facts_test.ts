/** Facts of formats against samples of another random number generator. */

import { assertAlmostEquals } from "@std/assert";
import golden from "../tests/golden/format_facts.json" with { type: "json" };
import { type Distribution, formatFacts } from "./facts.ts";
import { numberFormat } from "./lookup.ts";

Deno.test("SQNR of facts is that of random samples in random order", () => {
  for (const [id, figures] of Object.entries(golden.sqnr_db)) {
    const { sqnr_db } = formatFacts(numberFormat(id));
    for (const [kind, wanted] of Object.entries(figures)) {
      // Few groups hold most of the energy of Student's t.
      const tolerance = kind === "student_t" ? 0.2 : 0.1;
      assertAlmostEquals(sqnr_db[kind as Distribution], wanted, tolerance, `${id} ${kind}`);
    }
  }
});
