/** Plugins that break one clause of the contract each: the right check of the kit must say so. */

import { assert, assertMatch } from "@std/assert";
import { z } from "zod";
import { definePlugin, type Plugin, schema } from "../spec/mod.ts";
import { type CheckName, inspectPlugin } from "../testing/mod.ts";
import { testPlugin as plugin } from "./engine_bench.ts";

const SCHEMES = ["int4_g32_asym", "int8_channel_sym", "iq4_nl"];
const hook: Plugin["quantize"] = ({ weight, linear, codec }) =>
  codec.quantize(weight.slice(), linear.rows, linear.columns);

/** Rounds to nearest, then does something to the tensor. */
const after = (change: (tensor: ReturnType<NonNullable<Plugin["quantize"]>>) => void): Plugin =>
  plugin("broken", {
    quantize(args) {
      const tensor = hook(args);
      change(tensor);
      return tensor;
    },
  });

/** Numbers that a module keeps, where none should be kept. */
let calls = 0;

const BROKEN: [name: string, check: CheckName, message: RegExp, make: () => Plugin][] = [
  ["a name that is no kebab case", "manifest", /meta\.name: must be lower case words/, () => ({
    ...plugin("fine", { quantize: hook }),
    meta: { ...plugin("fine", { quantize: hook }).meta, name: "My Method" },
  })],
  ["a newer interface", "manifest", /version 2 of the plugin interface.*update lowbit/, () => ({
    ...plugin("fine", { quantize: hook }),
    meta: { ...plugin("fine", { quantize: hook }).meta, apiVersion: 2 },
  })],
  ["a hook with a slip in its name", "manifest", /quantise: is no hook; did you mean/, () => ({
    ...plugin("fine", { quantize: hook }),
    quantise: hook,
  } as Plugin)],
  ["loose options", "options", /an unknown option is taken/, () =>
    definePlugin<unknown>({
      ...plugin("broken", { quantize: hook }),
      options: schema("options", z.object({})),
    })],
  ["an option without a default", "options", /steps has no default/, () =>
    definePlugin<unknown>({
      ...plugin("broken", { quantize: hook }),
      options: schema(
        "options",
        z.strictObject({ steps: z.int().optional().describe("how many") }),
      ),
    })],
  [
    "an option without a description",
    "options",
    /inner\.rate has no description/,
    () =>
      definePlugin<unknown>({
        ...plugin("broken", { quantize: hook }),
        options: schema(
          "options",
          z.strictObject({
            inner: z.strictObject({ rate: z.number().default(1) }).default({ rate: 1 }),
          }),
        ),
      }),
  ],
  ["a changed weight", "inputs", /quantize changed its weight/, () =>
    plugin("broken", {
      quantize(args) {
        (args.weight as Float32Array)[0] = 0;
        return hook(args);
      },
    })],
  ["changed statistics", "inputs", /quantize changed its statistics/, () =>
    plugin("broken", {
      quantize(args) {
        args.statistics.absMax?.fill(1);
        return hook(args);
      },
    })],
  [
    "random bytes",
    "repeat",
    /other bytes each time/,
    () => after(({ codes }) => codes[0] = Math.floor(Math.random() * 16)),
  ],
  ["state between weights", "order", /other bytes after other weights/, () => {
    let scale = 0;
    return plugin("broken", {
      quantize(args) {
        const tensor = hook(args);
        // What the first weight of a kind was decides about later ones.
        if (scale === 0 && args.weight[0] !== 0) scale = tensor.parameters.scales[0];
        if (scale > 0 && args.weight[0] < 0) tensor.codes[0] = ++calls === 1 ? 0 : 1;
        return tensor;
      },
    });
  }],
  [
    "a statistic of the first batch",
    "batches",
    /split in three: the statistic differs/,
    () =>
      plugin("broken", {
        collect() {
          let first: number | undefined;
          return {
            add: (x) => void (first ??= x.array.reduce((a, b) => a + Math.abs(b), 0)),
            merge() {},
            value: () => first,
          };
        },
        quantize: hook,
      }),
  ],
  ["a merge that forgets", "batches", /merged: the statistic differs/, () =>
    plugin("broken", {
      collect() {
        let sum = 0;
        return {
          add: (x) => void (sum += x.array.reduce((a, b) => a + Math.abs(b), 0)),
          merge() {},
          value: () => sum,
        };
      },
      quantize: hook,
    })],
  ["NaN where a group is all zeros", "formats", /zeros: .*(finite|NaN)/, () =>
    plugin("broken", {
      quantize(args) {
        const tensor = hook(args);
        const largest = args.weight.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        tensor.parameters.scales[0] *= largest / largest;
        return tensor;
      },
    })],
  ["a ragged group that is cut off", "formats", /ragged group: .*scales/, () =>
    after((tensor) => {
      const { scheme: { granularity }, shape: [rows, columns], parameters } = tensor;
      if (granularity.kind !== "group") return;
      parameters.scales = parameters.scales.slice(0, rows * Math.floor(columns / granularity.size));
    })],
  ["codes beyond their bits", "formats", /code beyond its bits/, () =>
    after((tensor) => {
      if (tensor.scheme.element.bits === 4) tensor.codes[0] = 77;
    })],
  ["a NaN that is taken", "formats", /a weight with a NaN is quantised/, () =>
    plugin("broken", {
      quantize: (args) =>
        hook({ ...args, weight: args.weight.map((x) => Number.isNaN(x) ? 0 : x) }),
    })],
  [
    "a granularity that it cannot do",
    "formats",
    /int8_channel_sym, normal: only groups/,
    () =>
      plugin("broken", {
        quantize(args) {
          if (args.codec.scheme.granularity.kind !== "group") throw new Error("only groups");
          return hook(args);
        },
      }),
  ],
  [
    "a scale twice too large",
    "error",
    /times that of round to nearest; 1\.5 is stated/,
    () =>
      plugin("broken", {
        quantize: (args) => hook({ ...args, weight: args.weight.map((x, i) => i % 5 ? x : 0) }),
      }),
  ],
  [
    "an error beyond its own word",
    "error",
    /error of weights is .* 1\.01 is stated/,
    () =>
      plugin("broken", {
        quantize: (args) => hook({ ...args, weight: args.weight.map((x) => x * 1.05) }),
      }, { error: { of: "weights", factor: 1.01 } }),
  ],
  ["a transform that moves the function", "function", /changed the output/, () =>
    plugin("broken", {
      transform: ({ block }) => {
        const columns = block.linears.find(({ role }) => role === "mlp.up")!.columns;
        const factors = new Float32Array(columns).fill(3e38); // twice: lost in f32
        return Array(2).fill({ op: "scale", edge: "attention.input", factors });
      },
    })],
  [
    "bytes that kernels decide",
    "twin",
    /reference kernels and WebAssembly give other bytes/,
    () =>
      plugin("broken", {
        quantize(args) {
          const tensor = hook(args);
          if (args.context.kernels.name.includes("wasm")) tensor.codes[0] ^= 1;
          return tensor;
        },
      }),
  ],
  [
    "scales that are not rounded for storage",
    "roundtrip",
    /is not a number of float16/,
    () =>
      after(({ parameters: { scales }, scheme }) => {
        if (scheme.scale.format === "float16") scales[0] *= 1.0001;
      }),
  ],
  ["a run that ends in an error", "run", /on a tiny model: no such role/, () =>
    plugin("broken", {
      transform() {
        throw new Error("no such role");
      },
    })],
  ["a cache that loses rows", "cache", /rows are left after truncate\(0\)/, () =>
    plugin("broken", {
      cache() {
        let [k, v]: number[][] = [[], []];
        return {
          append: (keys, values) => void ([k, v] = [[...k, ...keys], [...v, ...values]]),
          read: () => ({
            keys: Float32Array.from(k),
            values: Float32Array.from(v),
            length: k.length / 64,
          }),
          truncate() {},
          get bytes() {
            return 4 * (k.length + v.length);
          },
        };
      },
    })],
  [
    "a figure that counts batches",
    "figures",
    /split at 1 and 17: value\.batches/,
    () =>
      plugin("broken", {
        evaluate() {
          let batches = 0;
          return { add: () => void batches++, result: () => ({ batches }) };
        },
      }),
  ],
];

for (const [name, check, message, make] of BROKEN) {
  Deno.test(`the kit catches ${name}`, async () => {
    const report = await inspectPlugin(make(), { schemes: SCHEMES });
    const found = report.checks.find((result) => result.check === check)!;
    assert(!report.ok && found.outcome === "broken", JSON.stringify(report.checks, null, 1));
    assertMatch(found.problems.join("\n"), message);
  });
}

Deno.test("the kit: a plugin that is fine is fine", async () => {
  const report = await inspectPlugin(plugin("fine", { quantize: hook }), { schemes: SCHEMES });
  assert(report.ok, JSON.stringify(report.checks, null, 1));
});
