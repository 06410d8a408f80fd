/** The test kit on every shipped plugin. */

import { PLUGINS } from "../plugins/mod.ts";
import { testPlugin } from "../testing/mod.ts";

/** Fewer steps for methods that learn. */
const SHORT: Record<string, Record<string, unknown>> = {
  signround: { steps: 6 },
  omniquant: { epochs: 2 },
  qlora: { steps: 3, rank: 2, rate: 0.01 },
};

for (const plugin of PLUGINS) {
  const { name } = plugin.meta;
  Deno.test(`the kit: ${name}`, async () => {
    await testPlugin(plugin, { options: SHORT[name] });
  });
}
