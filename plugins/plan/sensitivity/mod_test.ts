import { assert, assertEquals, assertLess } from "@std/assert";
import { WholeModel } from "../../../engine/model_view.ts";
import { openModel } from "../../../models/architecture.ts";
import { bench, WINDOWS } from "../../../tests/engine_bench.ts";
import { UNTIED } from "../../../tests/temporary.ts";
import { testContext } from "../../_math/testing.ts";
import { sensitivity } from "./mod.ts";

async function measure(measure: "kl" | "block") {
  using lowbit = bench();
  const { kernels, codecs } = lowbit;
  const checkpoint = await lowbit.open(UNTIED);
  const model = openModel(checkpoint);
  const candidates = [2, 4, 8].map((bits) =>
    codecs.resolve({ base: "int8_channel_asym", element: `uint${bits}` })
  );
  const planned = model.linears.filter(({ block }) => block !== undefined);
  using whole = await WholeModel.load({
    ...{ model, kernels, codecs, windows: WINDOWS, candidates, planned },
  });
  const rng = () => {
    throw new Error("is not random");
  };
  const { context } = testContext({ kernels, codecs, rng }, sensitivity, { measure });
  const losses = sensitivity.planLosses!({ context, model: whole });
  const same = new Map([[planned[3].id, whole.weight(planned[3].id)]]);
  assertLess(Math.abs(whole.divergence(same)), 1e-9);
  checkpoint.close();
  return { losses, planned };
}

for (const kind of ["kl", "block"] as const) {
  Deno.test(`sensitivity: ${kind}: every weight under every scheme, more bits lose less`, async () => {
    const { losses, planned } = await measure(kind);
    assertEquals([...losses.keys()], planned.map(({ id }) => id));
    for (const row of losses.values()) {
      assertEquals(row.length, 3);
      assert(row[0] > row[1] && row[1] > row[2] && row[2] >= 0, String(row));
    }
  });
}
