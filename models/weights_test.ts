import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LowbitError, type QuantizedTensor, type ResolvedScheme } from "../spec/mod.ts";
import { checkpointOf, CONFIG, METADATA, tensorOf } from "./_fixtures.ts";
import { openModel, parameterOf } from "./architecture.ts";
import { inverseRows, permuteQuantized, permuteRows, ropeRows } from "./rows.ts";
import { parameterTensor, readRows } from "./weights.ts";

Deno.test("rows of rotary heads are taken apart and put together again", () => {
  // Two heads of size 6: GGUF row 2k + j of a head is row 3j + k of the graph.
  const order = ropeRows(12, 2);
  assertEquals([...order], [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
  const rows = Float32Array.from({ length: 24 }, (_, i) => i);
  assertEquals(permuteRows(permuteRows(rows, order), inverseRows(order)), rows);
  assertThrows(() => ropeRows(6, 2), LowbitError, "6 rows are not 2 heads of an even size");
  assertThrows(() => ropeRows(7, 2), LowbitError);
});

function quantized(granularity: ResolvedScheme["granularity"], scales: number[]): QuantizedTensor {
  return {
    shape: [4, 2],
    scheme: { granularity } as ResolvedScheme,
    codes: Uint8Array.of(0, 1, 10, 11, 20, 21, 30, 31),
    parameters: { scales: Float32Array.from(scales) },
  };
}

Deno.test("codes, scales and side tensors follow the rows", () => {
  const order = ropeRows(4, 1);
  const tensor: QuantizedTensor = {
    ...quantized({ kind: "group", size: 1 }, [1, 2, 3, 4, 5, 6, 7, 8]),
    side: [
      {
        kind: "sparse",
        rows: Uint32Array.of(1, 2, 2),
        columns: Uint32Array.of(1, 0, 1),
        values: Float32Array.of(0.1, 0.2, 0.3),
      },
      {
        kind: "low_rank",
        rank: 1,
        left: Float32Array.of(1, 2, 3, 4),
        right: Float32Array.of(9, 9),
      },
    ],
  };
  const moved = permuteQuantized(tensor, order);
  assertEquals(moved.codes, Uint8Array.of(0, 1, 20, 21, 10, 11, 30, 31));
  assertEquals(moved.parameters, { scales: Float32Array.of(1, 2, 5, 6, 3, 4, 7, 8) });
  assertEquals(moved.side![0], {
    kind: "sparse",
    rows: Uint32Array.of(1, 1, 2),
    columns: Uint32Array.of(0, 1, 1),
    values: Float32Array.of(0.2, 0.3, 0.1),
  });
  assertEquals(moved.side![1], {
    kind: "low_rank",
    rank: 1,
    left: Float32Array.of(1, 3, 2, 4),
    right: Float32Array.of(9, 9),
  });
  assertEquals(permuteQuantized(moved, inverseRows(order)), tensor);
});

Deno.test("scales that rows share stay, or cannot follow", () => {
  const order = ropeRows(4, 1);
  const whole = permuteQuantized(quantized({ kind: "tensor" }, [5]), order);
  assertEquals(whole.parameters.scales, Float32Array.of(5));
  const channel = permuteQuantized(quantized({ kind: "channel" }, [1, 2, 3, 4]), order);
  assertEquals(channel.parameters.scales, Float32Array.of(1, 3, 2, 4));
  const tall = quantized({ kind: "block", rows: 4, columns: 1 }, [1, 2]);
  assertEquals(permuteQuantized(tall, order).parameters.scales, Float32Array.of(1, 2));
  const square = quantized({ kind: "block", rows: 2, columns: 2 }, [1, 2]);
  assertThrows(() => permuteQuantized(square, order), LowbitError, "scales of blocks of rows");
});

Deno.test("query and key of a GGUF file come in the order of the graph, whole or in part", async () => {
  const checkpoint = checkpointOf(METADATA, "gguf");
  const model = openModel(checkpoint);
  const parameter = parameterOf(model, "blocks.0.attention.query");
  assertEquals([...parameter.views.gguf!.order!()], [0, 2, 1, 3, 4, 6, 5, 7]);
  assertEquals(parameterOf(model, "blocks.0.attention.value").views, {});
  const tensor = parameterTensor(model, parameter.id);
  const stored = await checkpoint.tensors.get("blk.0.attn_q.weight")!.read();
  const whole = await tensor.read();
  assertEquals(whole, permuteRows(stored, parameter.views.gguf!.order!()));
  assertEquals(permuteRows(whole, inverseRows(parameter.views.gguf!.order!())), stored);
  assertEquals(await tensor.read({ start: 3, end: 6 }), whole.slice(3 * 8, 6 * 8));
  assertEquals(await tensor.read({ start: 4, end: 8 }), whole.slice(4 * 8));
});

Deno.test("weights that are not finite are refused with file and tensor", async () => {
  for (const value of [NaN, Infinity, -Infinity]) {
    const checkpoint = checkpointOf(CONFIG);
    const name = "model.layers.1.mlp.up_proj.weight";
    const values = new Float32Array(96);
    values[17] = value;
    checkpoint.tensors.set(name, tensorOf(name, [12, 8], values));
    const error = await assertRejects(
      () => parameterTensor(openModel(checkpoint), "blocks.1.mlp.up").read(),
      LowbitError,
      `made-up: ${name}: a weight is ${value} (element 17)`,
    );
    assertEquals(error.code, "NON_FINITE");
  }
});

Deno.test("some rows are read in few reads, in the order asked for", async () => {
  const reads: [number, number][] = [];
  const tensor = tensorOf("x", [10000, 2]);
  const { read } = tensor;
  const counted: typeof tensor = {
    ...tensor,
    read(rows) {
      reads.push([rows!.start, rows!.end]);
      return read(rows);
    },
  };
  const rows = [9000, 3, 5, 3, 20];
  const values = await readRows(counted, rows);
  const all = await tensor.read();
  assertEquals([...values], rows.flatMap((row) => [all[2 * row], all[2 * row + 1]]));
  assertEquals(reads, [[3, 21], [9000, 9001]]);
  assertEquals((await readRows(counted, [])).length, 0);
});
