import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { type Architecture, LowbitError, type Node } from "../spec/mod.ts";
import { kernelsOf } from "./_fixtures.ts";
import { runBlock, type Values } from "./interpreter.ts";

const kernels = kernelsOf({
  add: ({ x, y }) => x.array.forEach((value, i) => y.array[i] += value),
  siluGate({ gate, up, y }) {
    y.array.set(gate.array.map((value, i) => value * up.array[i]));
  },
  rope: ({ x }) => x.array.forEach((value, i) => x.array[i] = value + 100),
});

/** Runs operations on `[1, 2]`; the linear `n` multiplies by n. */
function run(...block: Node[]): number[] {
  const graph: Architecture["graph"] = { before: [], block, after: [] };
  const start = kernels.memory().bytes;
  const x = kernels.upload(Float32Array.of(1, 2));
  try {
    const y: Values = runBlock({
      graph,
      kernels,
      hyperparameters: { theta: 1, head_size: 2, heads: 1 },
      tokens: 1,
      x,
      parameter: () => x,
      linear(role, input) {
        const made = kernels.alloc("f32", input.length);
        made.array.set(input.array.map((value) => value * Number(role)));
        return made;
      },
    });
    const result = [...y.array];
    y.free();
    return result;
  } finally {
    assertEquals([...x.array], [1, 2], "inputs stay as they are");
    x.free();
    assertEquals(kernels.memory().bytes, start, "nothing is left behind");
  }
}

const linear = (weight: string, from: string, out: string): Node => ({
  op: "linear",
  weight,
  in: from,
  out,
});
const add = (a: string, b: string, out: string): Node => ({ op: "add", in: [a, b], out });

Deno.test("values flow from operation to operation", () => {
  assertEquals(run(linear("3", "x", "a"), linear("2", "a", "b"), add("a", "b", "x")), [9, 18]);
  assertEquals(run(linear("3", "x", "a"), add("x", "a", "x")), [4, 8]);
});

Deno.test("a value that is read later is not changed by what works in place", () => {
  const rope: Node = { op: "rope", in: "a", out: "b", heads: "heads" };
  assertEquals(run(linear("3", "x", "a"), rope, add("a", "b", "x")), [106, 112]);
  assertEquals(run(add("x", "x", "x")), [2, 4]);
  assertEquals(run(linear("3", "x", "a"), add("a", "a", "x")), [6, 12]);
  const gate: Node = { op: "silu_gate", gate: "a", up: "a", out: "x" };
  assertEquals(run(linear("3", "x", "a"), gate), [9, 36]);
});

Deno.test("a name that is written again is another value", () => {
  assertEquals(
    run(linear("2", "x", "x"), linear("3", "x", "a"), linear("5", "a", "a"), add("x", "a", "x")),
    [32, 64],
  );
  assertEquals(run(linear("2", "x", "unused"), linear("2", "x", "unused"), linear("7", "x", "x")), [
    7,
    14,
  ]);
});

Deno.test("biases and Hadamards take the place of a value, or make another", () => {
  const bias = (from: string, out: string): Node => ({ op: "bias", weight: "b", in: from, out });
  const turn = (from: string, out: string): Node => ({ op: "hadamard", in: from, out, size: "2" });
  // The parameter of the bias is [1, 2].
  assertEquals(run(linear("3", "x", "a"), bias("a", "a"), add("a", "a", "x")), [8, 16]);
  assertEquals(run(linear("3", "x", "a"), bias("a", "b"), add("a", "b", "x")), [7, 14]);
  const root = Math.SQRT1_2;
  const [sum, difference] = [Math.fround(3 * Math.fround(root)), -Math.fround(root)];
  run(turn("x", "x")).forEach((value, i) => assertAlmostEquals(value, [sum, difference][i], 1e-6));
  run(turn("x", "a"), turn("a", "x")).forEach((value, i) => assertAlmostEquals(value, 1 + i, 1e-6));
});

Deno.test("a graph without operations gives back what it is given", () => {
  assertEquals(run(), [1, 2]);
});

Deno.test("memory is given back where an operation fails", () => {
  assertThrows(
    () => run(linear("2", "x", "a"), add("a", "missing", "x")),
    LowbitError,
    'no operation before makes the value "missing"',
  );
});
