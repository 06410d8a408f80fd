/**
 * SHA-256, at once and piece by piece: the one module that sees the hash library.
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

/** The SHA-256 of bytes that come in pieces. */
export function runningSha256(): RunningHash {
  const hash = sha256.create();
  return { update: (bytes) => void hash.update(bytes), hex: () => hex(hash.digest()) };
}

/** The SHA-256 of bytes, hexadecimal. */
export function sha256Hex(bytes: Uint8Array): string {
  return hex(sha256(bytes));
}

/** Bytes as hexadecimal text. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
