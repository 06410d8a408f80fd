/** Damaged files: every failure is a LowbitError, whatever byte is wrong. */

import { assert } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { openCheckpoint } from "../open.ts";
import { memorySource } from "./source.ts";

const folder = new URL("../../tests/golden/containers/", import.meta.url);
const read = (name: string) => Deno.readFileSync(new URL(name, folder));

/** Numbers from 0 to `below` from a fixed sequence. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

/** Opens and reads everything; the codes of the failures. */
async function survive(files: [string, Uint8Array][]): Promise<boolean> {
  try {
    const checkpoint = await openCheckpoint(files.map(([name, b]) => memorySource(name, b)));
    for (const tensor of checkpoint.tensors.values()) {
      if (tensor.storage.kind !== "foreign") await tensor.read();
    }
    return true;
  } catch (error) {
    assert(error instanceof LowbitError, (error as Error).stack);
    return false;
  }
}

for (
  const names of [["dtypes.safetensors"], ["golden.gguf"], [
    "compressed_tensors/model.safetensors",
    "compressed_tensors/config.json",
  ]]
) {
  Deno.test(`damaged ${names[0]}: cut anywhere or with wrong bytes, one clear error or a reading`, async () => {
    const originals = names.map((name) => [name, read(name)] as [string, Uint8Array]);
    const next = sequence(names[0].length);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const target = next(originals.length);
      const damaged = originals.map(([name, bytes], i): [string, Uint8Array] => {
        if (i !== target) return [name, bytes];
        if (round % 4 === 0) return [name, bytes.slice(0, next(bytes.length))];
        const copy = bytes.slice();
        // Mostly in the header, where it hurts.
        const reach = round % 4 === 1 ? copy.length : Math.min(copy.length, 1500);
        for (let n = 0; n <= round % 3; n++) copy[next(reach)] = next(256);
        return [name, copy];
      });
      if (!await survive(damaged)) refused++;
    }
    assert(refused > 200, String(refused));
  });
}
