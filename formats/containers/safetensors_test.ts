import { assert, assertEquals } from "@std/assert";
import { type ErrorCode, LowbitError } from "../../spec/errors.ts";
import { memoryOutput } from "./output.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";
import { memorySource } from "./source.ts";

/** A file with this header (text or bytes) and this many bytes of data. */
function file(header: string | Uint8Array, data: number, declared?: bigint): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, declared ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const F32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) =>
  `{"dtype":"F32","shape":${JSON.stringify(shape)},"data_offsets":[${begin},${end}]}`;

/** What is wrong, the bytes, the code, and what the message must name. */
const HOSTILE: [what: string, bytes: Uint8Array, code: ErrorCode, names?: string][] = [
  ["empty file", new Uint8Array(0), "TRUNCATED"],
  ["seven bytes", new Uint8Array(7), "TRUNCATED"],
  ["header length 0", file("", 0), "MALFORMED"],
  ["header longer than the file", file("{}", 0, 1000n), "TRUNCATED"],
  ["header of 2^63 bytes", file("{}", 0, 1n << 63n), "LIMIT"],
  ["header of 100 MB and one", file("{}", 0, 100_000_001n), "LIMIT"],
  ["not an object", file("[]", 0), "MALFORMED"],
  ["leading space", file(" {}", 0), "MALFORMED"],
  ["cut JSON", file('{"a":', 0), "MALFORMED"],
  ["text after the JSON", file("{} x", 0), "MALFORMED"],
  ["invalid UTF-8", file(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a]), 0), "MALFORMED"],
  ["NaN", file('{"a":NaN}', 0), "MALFORMED"],
  ["trailing comma", file(`{"a":${F32(0, 4)},}`, 4), "MALFORMED"],
  ["duplicate tensor", file(`{"a":${F32(0, 4)},"a":${F32(0, 4)}}`, 4), "MALFORMED", "a"],
  [
    "duplicate key in an entry",
    file('{"a":{"dtype":"F32","dtype":"U8","shape":[1],"data_offsets":[0,4]}}', 4),
    "MALFORMED",
    "dtype",
  ],
  ["deep nesting", file("{" + '"a":{'.repeat(50) + "}".repeat(51), 0), "LIMIT"],
  ["entry is a number", file('{"a":1}', 0), "MALFORMED", "a"],
  ["entry is null", file('{"__proto__":null}', 0), "MALFORMED", "__proto__"],
  [
    "unknown key",
    file('{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":1}}', 1),
    "MALFORMED",
  ],
  [
    "unknown dtype",
    file('{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}', 4),
    "MALFORMED",
    "a",
  ],
  [
    "dtype of Object",
    file('{"a":{"dtype":"constructor","shape":[],"data_offsets":[0,4]}}', 4),
    "MALFORMED",
  ],
  ["missing dtype", file('{"a":{"shape":[1],"data_offsets":[0,4]}}', 4), "MALFORMED", "a"],
  [
    "known, unsupported",
    file('{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}', 8),
    "UNSUPPORTED",
    "C64",
  ],
  ["negative dimension", file(`{"a":${F32(0, 4, [-1])}}`, 4), "MALFORMED", "a"],
  ["fractional dimension", file(`{"a":${F32(0, 4, [1.5])}}`, 4), "MALFORMED", "a"],
  ["shape is a string", file(`{"a":${F32(0, 4, "1")}}`, 4), "MALFORMED", "a"],
  ["overflowing shape", file(`{"a":${F32(0, 4, [2 ** 40, 2 ** 40])}}`, 4), "LIMIT", "a"],
  [
    "dimension beyond 2^53",
    file('{"a":{"dtype":"U8","shape":[1e300],"data_offsets":[0,1]}}', 1),
    "MALFORMED",
  ],
  [
    "overflowing number",
    file('{"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,1]}}', 1),
    "MALFORMED",
  ],
  ["too many dimensions", file(`{"a":${F32(0, 4, Array(17).fill(1))}}`, 4), "LIMIT", "a"],
  ["negative offset", file(`{"a":${F32(-4, 0, [1])}}`, 4), "MALFORMED", "a"],
  ["one offset", file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', 1), "MALFORMED", "a"],
  ["end before begin", file(`{"a":${F32(4, 0, [1])}}`, 4), "MALFORMED", "a"],
  ["size is not dtype times shape", file(`{"a":${F32(0, 4, [2])}}`, 4), "MALFORMED", "a"],
  ["data beyond the file", file(`{"a":${F32(0, 8)}}`, 4), "TRUNCATED", "a"],
  ["overlap", file(`{"a":${F32(0, 8)},"b":${F32(4, 12)}}`, 12), "MALFORMED", "b"],
  ["gap", file(`{"a":${F32(0, 4)},"b":${F32(8, 12)}}`, 12), "MALFORMED", "b"],
  ["gap at the start", file(`{"a":${F32(4, 8)}}`, 8), "MALFORMED", "a"],
  ["bytes after the last tensor", file(`{"a":${F32(0, 4)}}`, 5), "MALFORMED"],
  ["metadata is a list", file('{"__metadata__":[]}', 0), "MALFORMED", "__metadata__"],
  ["metadata has a number", file('{"__metadata__":{"a":1}}', 0), "MALFORMED", "__metadata__"],
];

for (const [what, bytes, code, names] of HOSTILE) {
  Deno.test(`hostile safetensors: ${what}`, async () => {
    const error = await readSafetensors(memorySource("h.safetensors", bytes)).then(
      () => undefined,
      (e) => e,
    );
    assert(error instanceof LowbitError, `${error}`);
    assertEquals(error.code, code, error.message);
    assertEquals(error.file, "h.safetensors");
    if (names) assert(error.message.includes(names), error.message);
  });
}

Deno.test("safetensors: names of Object are names like others, empty tensors may share a place", async () => {
  const header = `{"b":${F32(0, 4)},"__proto__":${F32(0, 0)},"constructor":${F32(4, 8)}}  `;
  const { tensors } = await readSafetensors(memorySource("a", file(header, 8)));
  assertEquals(tensors.map((t) => t.name), ["__proto__", "b", "constructor"]);
});

Deno.test("safetensors: the writer's file reads back, in pieces and with metadata", async () => {
  const output = memoryOutput();
  const entries = [
    { name: "odd", type: "uint8" as const, shape: [3] },
    { name: "none", type: "float32" as const, shape: [0, 5] },
    { name: "x", type: "float32" as const, shape: [1, 2] },
  ];
  const sink = await output.file("a");
  const writer = await writeSafetensors(sink, entries, new Map([["z", "1"], ["a", '"\n']]));
  await writer.write("odd", new Uint8Array([1]));
  await writer.write("odd", new Uint8Array([2, 3]));
  await writer.write("x", new Uint8Array([0, 0, 128, 63, 0, 0, 0, 64]));
  await writer.finish();
  await output.commit();
  const bytes = output.files.get("a")!;
  const { tensors, metadata } = await readSafetensors(memorySource("a", bytes));
  assertEquals([...metadata], [["a", '"\n'], ["z", "1"]]);
  assertEquals(tensors.map((t) => [t.name, t.shape]), [
    ["odd", [3]],
    ["none", [0, 5]],
    ["x", [1, 2]],
  ]);
  assertEquals((bytes.length - 11) % 8, 0, "the data start at a multiple of 8");
});

Deno.test("safetensors: the writer enforces order, sizes and completeness", async () => {
  const entries = [
    { name: "a", type: "uint8" as const, shape: [2] },
    { name: "b", type: "uint8" as const, shape: [1] },
  ];
  const start = async () => writeSafetensors(await memoryOutput().file("a"), entries);
  const code = (work: Promise<unknown>) => work.then(() => "none", (e) => e.code);
  assertEquals(await code((await start()).write("b", new Uint8Array(1))), "SHAPE");
  assertEquals(await code((await start()).write("a", new Uint8Array(3))), "SHAPE");
  assertEquals(await code((await start()).finish()), "SHAPE");
  const twice = [entries[0], entries[0]];
  assertEquals(
    await code(memoryOutput().file("a").then((s) => writeSafetensors(s, twice))),
    "CONFLICT",
  );
});
