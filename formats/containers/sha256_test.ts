/** SHA-256 of the host and of the library, on the example of FIPS 180-4 and piece by piece. */

import { assertEquals } from "@std/assert";
import { runningSha256, sha256Hex } from "./sha256.ts";

Deno.test("sha256: by the host and by the library, at once and in pieces", () => {
  const bytes = new TextEncoder().encode("abc");
  const wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assertEquals(sha256Hex(bytes), wanted);
  for (const host of [true, false]) {
    const hash = runningSha256(host);
    hash.update(bytes.subarray(0, 1));
    hash.update(bytes.subarray(1));
    assertEquals(hash.hex(), wanted);
  }
});
