import { assertEquals } from "@std/assert";
import { portableSha256, runningSha256, sha256Hex } from "./sha256.ts";

Deno.test("the hash of the host and that of the library are SHA-256, in any pieces", () => {
  // FIPS 180-4 examples: "abc", the empty text, and a million times "a".
  const cases: [Uint8Array, string][] = [
    [
      new TextEncoder().encode("abc"),
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ],
    [new Uint8Array(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    [
      new Uint8Array(1_000_000).fill(97),
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ],
  ];
  for (const [bytes, expected] of cases) {
    assertEquals(sha256Hex(bytes), expected);
    for (const make of [runningSha256, portableSha256]) {
      for (const step of [64, 65537]) {
        const hash = make();
        for (let at = 0; at < bytes.length; at += step) hash.update(bytes.subarray(at, at + step));
        assertEquals(hash.hex(), expected);
      }
    }
  }
});

Deno.test("views into shared memory are hashed as they are", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(1000), 10, 900).fill(7);
  assertEquals(sha256Hex(shared), sha256Hex(new Uint8Array(900).fill(7)));
});
