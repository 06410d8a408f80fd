/** Codes of vector formats as bytes. */

import { assertEquals } from "@std/assert";
import { seededRng } from "../../engine/rng.ts";
import { layout, vectorFormat } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import { vectorBits } from "./facts.ts";
import { packCodes, unpackCodes } from "./pack.ts";

Deno.test("bits count codes, tables and scales", () => {
  assertEquals(vectorBits(vectorFormat("e8p"), 16, 64), 16 * 64 * 2 + 16 * 32);
  assertEquals(
    vectorBits(vectorFormat("aqlm_2x8"), 16, 64),
    16 * 64 * 2 + 2 * 256 * 8 * 16 + 16 * 16,
  );
  assertEquals(vectorBits(vectorFormat("bcq3_g128"), 2, 256), 2 * 256 * 3 + 2 * 2 * 3 * 16);
  assertEquals(vectorBits(vectorFormat("qtip_1mad_k3"), 32, 32), 32 * 32 * 3 + 32);
});

Deno.test("dense codes: the same bytes as the layout up to 8 bits, and back for any width", () => {
  for (const bits of [1, 2, 3, 5, 8, 11, 16, 23, 32]) {
    const rng = seededRng(`pack ${bits}`);
    const codes = Uint32Array.from({ length: 3 * 37 }, () => Math.floor(rng.uniform() * 2 ** bits));
    const bytes = packCodes(codes, 3, 37, bits);
    assertEquals(unpackCodes(bytes, 3, 37, bits), codes, `${bits} bits`);
    if (bits > 8) continue;
    const size = { rows: 3, columns: 37, bits };
    const dense = packMatrix(
      undefined,
      { codes: Uint8Array.from(codes) },
      size,
      layout("lowbit_dense"),
    );
    assertEquals(bytes, dense);
  }
});
