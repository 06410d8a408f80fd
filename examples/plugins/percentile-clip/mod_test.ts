import { testPlugin } from "@lowbit/lowbit/testing";
import { createWorkbench } from "@lowbit/lowbit";
import { percentileClip } from "./mod.ts";

Deno.test("percentile-clip holds the contract of plugins", async () => {
  // For few bits: of 8, a clipped percent is most of the error.
  await testPlugin(percentileClip, { schemes: ["int4_g32_asym", "int4_g64_sym", "iq4_nl"] });
});

Deno.test("percentile-clip: the factor is the percentile over the largest magnitude", async () => {
  using lowbit = await createWorkbench();
  const { kernels, codecs } = lowbit;
  const weight = Float32Array.from({ length: 100 }, (_, i) => (i + 1) * (i % 2 ? -1 : 1));
  const clip = (percentile: number) =>
    percentileClip.clip!({
      context: { options: { percentile }, kernels, codecs, rng: () => null!, warn() {} },
      linear: { id: "test", role: "test", rows: 1, columns: 100, input: "x" },
      weight,
      codec: codecs.get(codecs.resolve("int4_channel_sym")),
      statistics: { columns: 100, tokens: 0, custom: new Map() },
    })![0];
  if (Math.abs(clip(0.9) - 0.9) > 1e-6 || clip(1) !== 1) throw new Error(`${clip(0.9)} ${clip(1)}`);
});
