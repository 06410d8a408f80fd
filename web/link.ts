/**
 * Links that carry what is on the page: JSON, compressed, in the part of the address that browsers
 * never send.
 *
 * @module
 */

async function through(
  bytes: Uint8Array<ArrayBuffer>,
  stream: CompressionStream | DecompressionStream,
): Promise<Uint8Array> {
  const readable = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(readable).arrayBuffer());
}

/**
 * A value as text for a link.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { packLink, unpackLink } from "./link.ts";
 * const text = await packLink({ formats: ["id: é"] });
 * assertEquals(/^[\w-]+$/.test(text), true);
 * assertEquals(await unpackLink(text), { formats: ["id: é"] });
 * ```
 */
export async function packLink(value: unknown): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  const packed = await through(bytes, new CompressionStream("deflate-raw"));
  const text = btoa(Array.from(packed, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The value of a link; undefined if it is damaged. */
export async function unpackLink(text: string): Promise<unknown> {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
    const unpacked = await through(bytes, new DecompressionStream("deflate-raw"));
    return JSON.parse(new TextDecoder().decode(unpacked));
  } catch {
    return undefined;
  }
}
