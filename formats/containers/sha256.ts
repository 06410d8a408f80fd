/**
 * SHA-256, at once and piece by piece: the one module that sees the hash library. Where the host has
 * a hash of its own (Deno and Node have one, several times as fast), that does the work; browsers have
 * none that takes pieces.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";

/** A hash that takes its bytes in pieces. */
export interface RunningHash {
  /** Takes the next bytes. */
  update(bytes: Uint8Array): void;
  /** The hash of all of them, hexadecimal. */
  hex(): string;
}

/** What is used of the host's hash. */
interface HostHash {
  update(bytes: Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

/** Starts a hash of the host; undefined where there is none. */
const hostHash = findHostHash();

function findHostHash(): (() => HostHash) | undefined {
  // Asked for, not imported, so that bundles for browsers need no such module.
  const { process } = globalThis as unknown as {
    process?: {
      getBuiltinModule?: (name: string) => { createHash(name: string): HostHash } | undefined;
    };
  };
  const crypto = process?.getBuiltinModule?.("node:crypto");
  return crypto && (() => crypto.createHash("sha256"));
}

/** The SHA-256 of bytes that come in pieces. */
export function runningSha256(): RunningHash {
  const host = hostHash?.();
  return host
    ? { update: (bytes) => void host.update(bytes), hex: () => host.digest("hex") }
    : portableSha256();
}

/** The same by the library, on any host. */
export function portableSha256(): RunningHash {
  const hash = sha256.create();
  return { update: (bytes) => void hash.update(bytes), hex: () => hex(hash.digest()) };
}

/** The SHA-256 of bytes, hexadecimal. */
export function sha256Hex(bytes: Uint8Array): string {
  const hash = runningSha256();
  hash.update(bytes);
  return hash.hex();
}

/** Bytes as hexadecimal text. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
