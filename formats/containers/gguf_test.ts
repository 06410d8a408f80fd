import { assert, assertEquals } from "@std/assert";
import type { GgufValue } from "../../spec/checkpoint.ts";
import { type ErrorCode, LowbitError } from "../../spec/errors.ts";
import { readGguf } from "./gguf.ts";
import { type GgufEntry, writeGguf } from "./gguf_writer.ts";
import { memoryOutput } from "./output.ts";
import { memorySource } from "./source.ts";

/** Little-endian bytes: strings with their lengths, [type, number] pairs, raw arrays. */
type Part = string | ["u32" | "u64", number | bigint] | number[];

function build(...parts: Part[]): Uint8Array {
  const out: number[] = [];
  const push = (value: bigint, bytes: number) => {
    for (let i = 0; i < bytes; i++) out.push(Number((value >> BigInt(8 * i)) & 255n));
  };
  for (const part of parts) {
    if (typeof part === "string") {
      const text = new TextEncoder().encode(part);
      push(BigInt(text.length), 8);
      out.push(...text);
    } else if (typeof part[0] === "string") {
      push(BigInt(part[1] as number), part[0] === "u32" ? 4 : 8);
    } else out.push(...part as number[]);
  }
  return new Uint8Array(out);
}

const u32 = (n: number): Part => ["u32", n];
const u64 = (n: number | bigint): Part => ["u64", n];
const start = (tensors: number | bigint, values: number | bigint, version = 3): Part[] => [
  [0x47, 0x47, 0x55, 0x46],
  u32(version),
  u64(tensors),
  u64(values),
];
const zeros = (count: number): Part => Array<number>(count).fill(0);
const tensor = (name: string, dims: (number | bigint)[], type: number, offset: number): Part[] => [
  name,
  u32(dims.length),
  ...dims.map(u64),
  u32(type),
  u64(offset),
];

/** What is wrong, the bytes, the code, and what the message must name. */
const HOSTILE: [what: string, bytes: Uint8Array, code: ErrorCode, names?: string][] = [
  ["empty file", new Uint8Array(0), "TRUNCATED"],
  ["another magic", build([0x47, 0x47, 0x4d, 0x4c], u32(3), zeros(16)), "MALFORMED"],
  ["version 1", build(...start(0, 0, 1)), "UNSUPPORTED", "version 1"],
  ["version 4", build(...start(0, 0, 4)), "UNSUPPORTED"],
  ["big-endian", build(...start(0, 0, 0x03000000)), "UNSUPPORTED", "big-endian"],
  ["cut after the version", build([0x47, 0x47, 0x55, 0x46], u32(3)), "TRUNCATED"],
  ["2^63 tensors", build(...start(1n << 63n, 0)), "TRUNCATED"],
  ["2^40 values", build(...start(0, 2 ** 40)), "TRUNCATED"],
  ["key of 2^60 bytes", build(...start(0, 1), u64(1n << 60n), zeros(9)), "TRUNCATED"],
  ["long key", build(...start(0, 1), "k".repeat(70_000), u32(0), [1]), "LIMIT"],
  ["key of invalid UTF-8", build(...start(0, 1), u64(1), [0xff], u32(0), [1]), "MALFORMED"],
  ["unknown value type", build(...start(0, 1), "k", u32(13), zeros(8)), "MALFORMED", "k"],
  ["duplicate key", build(...start(0, 2), "k", u32(0), [1], "k", u32(0), [1]), "MALFORMED", "k"],
  ["boolean 2", build(...start(0, 1), "k", u32(7), [2]), "MALFORMED", "k"],
  ["string beyond the file", build(...start(0, 1), "k", u32(8), u64(100), [65]), "TRUNCATED", "k"],
  [
    "array of 2^61 numbers",
    build(...start(0, 1), "k", u32(9), u32(10), u64(1n << 61n), zeros(8)),
    "TRUNCATED",
    "k",
  ],
  [
    "array of many empty strings",
    build(...start(0, 1), "k", u32(9), u32(8), u64(1000), zeros(80)),
    "TRUNCATED",
    "k",
  ],
  [
    "deep arrays",
    build(
      ...start(0, 1),
      "k",
      u32(9),
      ...Array.from({ length: 9 }, () => [u32(9), u64(1)]).flat() as Part[],
      zeros(64),
    ),
    "LIMIT",
    "k",
  ],
  ["cut in the tensor infos", build(...start(1, 0), "t", u32(1), u64(4), zeros(4)), "TRUNCATED"],
  ["five dimensions", build(...start(1, 0), ...tensor("t", [1, 1, 1, 1, 1], 0, 0)), "LIMIT", "t"],
  ["dimension of 2^63", build(...start(1, 0), ...tensor("t", [1n << 63n], 0, 0)), "LIMIT", "t"],
  [
    "overflowing shape",
    build(...start(1, 0), ...tensor("t", [2n ** 40n, 2n ** 40n], 0, 0)),
    "LIMIT",
    "t",
  ],
  ["unknown ggml type", build(...start(1, 0), ...tensor("t", [4], 99, 0)), "UNSUPPORTED", "99"],
  [
    "half a block",
    build(...start(1, 0), ...tensor("t", [40], 2, 0), zeros(99)),
    "MALFORMED",
    "Q4_0",
  ],
  [
    "unaligned offset",
    build(...start(1, 0), ...tensor("t", [1], 0, 4), zeros(99)),
    "MALFORMED",
    "t",
  ],
  [
    "data beyond the file",
    build(...start(1, 0), ...tensor("t", [99], 0, 0), zeros(40)),
    "TRUNCATED",
  ],
  [
    "offset beyond the file",
    build(...start(1, 0), ...tensor("t", [1], 0, 32 * 2 ** 40), zeros(99)),
    "TRUNCATED",
    "t",
  ],
  [
    "duplicate tensor",
    build(...start(2, 0), ...tensor("t", [1], 0, 0), ...tensor("t", [1], 0, 32), zeros(99)),
    "MALFORMED",
    "t",
  ],
  [
    "overlapping tensors",
    build(...start(2, 0), ...tensor("a", [16], 0, 0), ...tensor("b", [8], 0, 32), zeros(128)),
    "MALFORMED",
    "overlaps",
  ],
  [
    "alignment 0",
    build(...start(0, 1), "general.alignment", u32(4), u32(0)),
    "MALFORMED",
    "general.alignment",
  ],
  ["alignment 24", build(...start(0, 1), "general.alignment", u32(4), u32(24)), "MALFORMED"],
  ["alignment as text", build(...start(0, 1), "general.alignment", u32(8), "32"), "MALFORMED"],
];

for (const [what, bytes, code, names] of HOSTILE) {
  Deno.test(`hostile GGUF: ${what}`, async () => {
    const error = await readGguf(memorySource("h.gguf", bytes)).then(() => undefined, (e) => e);
    assert(error instanceof LowbitError, `${error?.stack ?? "no error"}`);
    assertEquals(error.code, code, error.message);
    assertEquals(error.file, "h.gguf");
    if (names) assert(error.message.includes(names), error.message);
  });
}

async function written(
  metadata: ReadonlyMap<string, GgufValue>,
  entries: GgufEntry[],
  data: Uint8Array[],
): Promise<Uint8Array> {
  const output = memoryOutput();
  const writer = await writeGguf(await output.file("a.gguf"), metadata, entries);
  for (const [i, entry] of entries.entries()) await writer.write(entry.name, data[i]);
  await writer.finish();
  await output.commit();
  return output.files.get("a.gguf")!;
}

Deno.test("GGUF: metadata of every type, nested arrays and an alignment of 64 read back", async () => {
  const metadata = new Map<string, GgufValue>([
    ["general.alignment", { type: "uint32", value: 64 }],
    ["i8", { type: "int8", value: -128 }],
    ["u16", { type: "uint16", value: 65535 }],
    ["i32", { type: "int32", value: -1 }],
    ["f32", { type: "float32", value: 0.5 }],
    ["f64", { type: "float64", value: 0.1 }],
    ["u64", { type: "uint64", value: 2n ** 64n - 1n }],
    ["i64", { type: "int64", value: -(2n ** 63n) }],
    ["yes", { type: "bool", value: true }],
    ["text", { type: "string", value: "größe\0" }],
    ["strings", { type: "array", items: "string", value: ["", "b"] }],
    ["none", { type: "array", items: "uint8", value: [] }],
    ["nested", {
      type: "array",
      items: "array",
      value: [{ type: "array", items: "bool", value: [true, false] }],
    }],
  ]);
  const entries = [
    { name: "a", shape: [3], type: "F32" },
    { name: "empty", shape: [0, 32], type: "Q8_0" },
    { name: "b", shape: [2, 32], type: "Q8_0" },
  ];
  const bytes = await written(metadata, entries, [
    new Uint8Array(12),
    new Uint8Array(0),
    new Uint8Array(68),
  ]);
  const header = await readGguf(memorySource("a.gguf", bytes));
  assertEquals([...header.metadata], [...metadata]);
  assertEquals(header.tensors.map((t) => [t.name, t.shape, t.type.name]), [
    ["a", [3], "F32"],
    ["empty", [0, 32], "Q8_0"],
    ["b", [2, 32], "Q8_0"],
  ]);
  for (const { offset } of header.tensors) assertEquals(offset % 64, 0);
  bytes[4] = 2;
  assertEquals((await readGguf(memorySource("a.gguf", bytes))).version, 2);
});

Deno.test("GGUF: the writer refuses values that are not of their type", async () => {
  const bad: GgufValue[] = [
    { type: "uint8", value: 256 },
    { type: "int8", value: -129 },
    { type: "uint32", value: 1.5 },
    { type: "uint64", value: -1n },
    { type: "int64", value: 2n ** 63n },
    { type: "bool", value: 1 },
    { type: "string", value: 1 },
    { type: "array", value: [] },
    { type: "array", items: "float32", value: ["x"] },
  ];
  for (const value of bad) {
    const code = await written(new Map([["k", value]]), [], []).then(() => "none", (e) => e.code);
    assertEquals(code, "FORMAT", String(value.value));
  }
});

Deno.test("GGUF: the writer enforces order, sizes and completeness", async () => {
  const entries = [{ name: "a", shape: [2], type: "F32" }, { name: "b", shape: [2], type: "F32" }];
  const begin = async () => writeGguf(await memoryOutput().file("a"), new Map(), entries);
  const code = (work: Promise<unknown>) => work.then(() => "none", (e) => e.code);
  assertEquals(await code((await begin()).write("b", new Uint8Array(8))), "SHAPE");
  assertEquals(await code((await begin()).write("a", new Uint8Array(9))), "SHAPE");
  assertEquals(await code((await begin()).finish()), "SHAPE");
  const q = [{ name: "q", shape: [33], type: "Q8_0" }];
  assertEquals(await code(written(new Map(), q, [new Uint8Array(0)])), "SHAPE");
});
