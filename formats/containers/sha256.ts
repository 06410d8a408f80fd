/**
 * SHA-256, at once and piece by piece: the one module that sees the hash library. Where the host has
 * a hash of its own, which is several times as fast, that is taken; the bytes are the same.
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

/** The part of `node:crypto` that is used; Deno has it too. */
interface HostCrypto {
  createHash(name: "sha256"): { update(bytes: Uint8Array): void; digest(): Uint8Array };
}

function hostCrypto(): HostCrypto | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?(name: string): HostCrypto | undefined };
  };
  return process?.getBuiltinModule?.("node:crypto");
}

/** The SHA-256 of bytes that come in pieces; by the library alone if `host` is false. */
export function runningSha256(host = true): RunningHash {
  const hash = (host ? hostCrypto()?.createHash("sha256") : undefined) ?? sha256.create();
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
