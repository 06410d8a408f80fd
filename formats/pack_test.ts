import { assert, assertEquals } from "@std/assert";
import {
  type Buffer,
  type Kernels,
  type Layout,
  LowbitError,
  type PackArguments,
  streamBytes,
} from "../spec/mod.ts";
import { layout, layouts, numberFormat } from "./lookup.ts";
import { type MatrixSize, packedBytes, type PackedParts, packMatrix } from "./pack.ts";
import { referencePack, referenceUnpack, unpackMatrix } from "./pack.ts";
import { decodeTable } from "./reference.ts";

/** A stand-in for kernels: packs by an accumulator, not bit by bit as the reference does. */
function standIn(): Kernels {
  const buffer = (array: Uint8Array): Buffer<"u8"> => ({
    type: "u8",
    length: array.length,
    array,
    slice: (start, length) => buffer(array.subarray(start, start + length)),
    free() {},
    [Symbol.dispose]() {},
  });
  const index = (k: number, { order, unitLength }: PackArguments) =>
    order === "neighbours" ? k : (k >> 1) + (k & 1) * (unitLength >> 1);
  const stand: Partial<Kernels> = {
    alloc: ((_type: "u8", length: number) => buffer(new Uint8Array(length))) as Kernels["alloc"],
    upload: ((data: Uint8Array) => buffer(data.slice())) as Kernels["upload"],
    pack(args) {
      const mask = 2 ** args.bits - 1;
      for (let unit = 0; unit < args.units; unit++) {
        let [held, count, at] = [0, 0, unit * args.stride + args.start];
        for (let k = 0; k < args.unitLength; k++) {
          const code = args.codes.array[unit * args.unitLength + index(k, args)];
          held |= ((code + args.offset) & mask) << count;
          for (count += args.bits; count >= 8; count -= 8, held >>>= 8) {
            args.bytes.array[at++] = held & 255;
          }
        }
        if (count > 0) args.bytes.array[at] = held & 255;
      }
    },
    unpack(args) {
      const mask = 2 ** args.bits - 1;
      for (let unit = 0; unit < args.units; unit++) {
        let [held, count, at] = [0, 0, unit * args.stride + args.start];
        for (let k = 0; k < args.unitLength; k++) {
          for (; count < args.bits; count += 8) held |= args.bytes.array[at++] << count;
          const code = (held - args.offset) & mask;
          args.codes.array[unit * args.unitLength + index(k, args)] = code;
          held >>>= args.bits;
          count -= args.bits;
        }
      }
    },
  };
  return stand as Kernels;
}

function codesOf(count: number, bits: number): Uint8Array {
  let state = count * 31 + bits;
  return Uint8Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 13) % 2 ** bits;
  });
}

/** Codes and parts for a matrix, or undefined if the layout does not hold its size. */
function partsOf(size: MatrixSize, form: Layout): PackedParts | undefined {
  const count = size.rows * size.columns;
  const largest = form.planes?.some(({ coding }) => coding === "base3") ? 3 : 2 ** size.bits;
  const packed: PackedParts = { codes: codesOf(count, size.bits).map((c) => c % largest) };
  try {
    packedBytes(size, form);
  } catch (error) {
    assert(error instanceof LowbitError && error.code === "FORMAT");
    return undefined;
  }
  if (form.parts && form.unit.kind === "block") {
    packed.parts = {};
    for (const { part, format, count: each } of form.parts) {
      const table = format.startsWith("float") && !format.startsWith("float8")
        ? Float32Array.from({ length: 40 }, (_, i) => (i - 7) / 8)
        : decodeTable(numberFormat(format)).filter(Number.isFinite);
      packed.parts[part] = Float32Array.from(
        { length: count / form.unit.codes * each },
        (_, i) => table[(i * 7 + 3) % table.length],
      );
    }
  }
  return packed;
}

Deno.test("pack: for every layout, width and size the fast bytes are the reference's", () => {
  const kernels = standIn();
  let compared = 0;
  for (const id of layouts.ids()) {
    const form = layout(id);
    if (form.bits.every((bits) => bits > 8)) continue; // layouts of scales: packing_test.ts
    let held = 0;
    for (const bits of form.bits.filter((b) => b <= 8)) {
      for (const rows of [0, 1, 2, 5, 8, 32, 64]) {
        for (const columns of [0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 60, 64, 127, 128, 256, 512]) {
          const size = { rows, columns, bits };
          if (rows * columns > 8192 && form.unit.kind !== "block") continue;
          const packed = partsOf(size, form);
          if (!packed) continue;
          const bytes = referencePack(packed, size, form);
          assertEquals(bytes.length, packedBytes(size, form));
          const what = `${id}, ${bits} bits, ${rows} x ${columns}`;
          assertEquals(packMatrix(kernels, packed, size, form), bytes, what);
          assertEquals(packMatrix(undefined, packed, size, form), bytes, what);
          assertEquals(referenceUnpack(bytes, size, form), packed, what);
          assertEquals(unpackMatrix(kernels, bytes, size, form), packed, what);
          assertEquals(unpackMatrix(undefined, bytes, size, form), packed, what);
          compared++;
          if (rows * columns > 0) held++;
        }
      }
    }
    assert(held > 0, `${id} held no matrix`);
  }
  assert(compared > 400, String(compared));
});

Deno.test("pack: rows are padded with zero bits to whole bytes or words", () => {
  const codes = new Uint8Array([1, 2, 3, 4, 5, 6]);
  const size = { rows: 2, columns: 3, bits: 3 };
  const bytes = referencePack({ codes }, size, layout("lowbit_dense"));
  assertEquals([...bytes], [
    1 | (2 << 3) | ((3 & 3) << 6),
    3 >> 2,
    4 | (5 << 3) | ((6 & 3) << 6),
    6 >> 2,
  ]);
  const words = referencePack(
    { codes: codes.subarray(0, 3) },
    { rows: 1, columns: 3, bits: 4 },
    layout("compressed_tensors_int"),
  );
  assertEquals([...words], [0xa9, 0x0b, 0, 0]);
  assertEquals(streamBytes(3, 4, 4), 4);
});

Deno.test("pack: ggml blocks have their scale first, and split halves", () => {
  const codes = Uint8Array.from({ length: 32 }, (_, i) => i < 16 ? 1 : 15);
  const size = { rows: 1, columns: 32, bits: 4 };
  const scale = new Float32Array([-0.5]);
  const bytes = referencePack({ codes, parts: { scale } }, size, layout("ggml_q4_0"));
  assertEquals([...bytes], [0x00, 0xb8, ...Array(16).fill(0x79)]);
});

Deno.test("pack: what a layout cannot hold is refused", () => {
  const dense = layout("lowbit_dense");
  const q4 = layout("ggml_q4_0");
  const code = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      return error instanceof LowbitError ? error.code : error;
    }
  };
  const codes = new Uint8Array(33);
  assertEquals(code(() => packedBytes({ rows: 1, columns: 33, bits: 9 }, dense)), "FORMAT");
  assertEquals(code(() => packedBytes({ rows: 1, columns: 33, bits: 4 }, q4)), "FORMAT");
  assertEquals(code(() => packedBytes({ rows: 1, columns: 32, bits: 8 }, q4)), "FORMAT");
  const size = { rows: 1, columns: 32, bits: 4 };
  assertEquals(code(() => referencePack({ codes }, size, dense)), "SHAPE");
  assertEquals(code(() => referencePack({ codes: codes.subarray(1) }, size, q4)), "SHAPE");
  assertEquals(code(() => referenceUnpack(new Uint8Array(17), size, q4)), "SHAPE");
  const digits = { codes: new Uint8Array(256).fill(3, 7, 8), parts: { scale: Float32Array.of(1) } };
  const ternary = { rows: 1, columns: 256, bits: 2 };
  for (const pack of [referencePack, packMatrix.bind(undefined, undefined)]) {
    assertEquals(code(() => pack(digits, ternary, layout("ggml_tq1_0"))), "FORMAT");
    digits.codes[7] = 2;
    assertEquals(code(() => pack(digits, ternary, layout("ggml_tq1_0"))), undefined);
    digits.codes[7] = 3;
  }
  const inexact = { codes: codes.subarray(1), parts: { scale: Float32Array.of(0.1) } };
  assertEquals(code(() => referencePack(inexact, size, q4)), "FORMAT");
});
