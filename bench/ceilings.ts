/**
 * What WebAssembly can do here at most, for figures to be compared with: reading memory in a stream,
 * and f32 multiply-add in the best register tile.
 *
 * The module has two functions. `stream(from, to)` reads 8 vectors an iteration and combines them.
 * `tile(n)` does n times 4 steps of 3 x 3 vectors, `a[i, j] += x[i] * w[j]`, with x and w read from
 * the first level of the cache: 288 operations a repetition.
 *
 * @module
 */

const MODULE =
  "AGFzbQEAAAABDAJgAX8Bf2ACf38BfwMDAgABBQQBAMAMBxoDBm1lbW9yeQIABHRpbGUAAAZzdHJlYW0AAQrNBwKpBgINewF/A0AgDv0ABICAASEKIA79AASQgAEhCyAO/QAEoIABIQwgDv0ABIAIIQ0gASANIAr95gH95AEhASACIA0gC/3mAf3kASECIAMgDSAM/eYB/eQBIQMgDv0ABJAIIQ0gBCANIAr95gH95AEhBCAFIA0gC/3mAf3kASEFIAYgDSAM/eYB/eQBIQYgDv0ABKAIIQ0gByANIAr95gH95AEhByAIIA0gC/3mAf3kASEIIAkgDSAM/eYB/eQBIQkgDv0ABLCAASEKIA79AATAgAEhCyAO/QAE0IABIQwgDv0ABLAIIQ0gASANIAr95gH95AEhASACIA0gC/3mAf3kASECIAMgDSAM/eYB/eQBIQMgDv0ABMAIIQ0gBCANIAr95gH95AEhBCAFIA0gC/3mAf3kASEFIAYgDSAM/eYB/eQBIQYgDv0ABNAIIQ0gByANIAr95gH95AEhByAIIA0gC/3mAf3kASEIIAkgDSAM/eYB/eQBIQkgDv0ABOCAASEKIA79AATwgAEhCyAO/QAEgIEBIQwgDv0ABOAIIQ0gASANIAr95gH95AEhASACIA0gC/3mAf3kASECIAMgDSAM/eYB/eQBIQMgDv0ABPAIIQ0gBCANIAr95gH95AEhBCAFIA0gC/3mAf3kASEFIAYgDSAM/eYB/eQBIQYgDv0ABIAJIQ0gByANIAr95gH95AEhByAIIA0gC/3mAf3kASEIIAkgDSAM/eYB/eQBIQkgDv0ABJCBASEKIA79AASggQEhCyAO/QAEsIEBIQwgDv0ABJAJIQ0gASANIAr95gH95AEhASACIA0gC/3mAf3kASECIAMgDSAM/eYB/eQBIQMgDv0ABKAJIQ0gBCANIAr95gH95AEhBCAFIA0gC/3mAf3kASEFIAYgDSAM/eYB/eQBIQYgDv0ABLAJIQ0gByANIAr95gH95AEhByAIIA0gC/3mAf3kASEIIAkgDSAM/eYB/eQBIQkgDkHAAWpB/x9xIQ4gAEEBayIADQALQYAEIAEgAv1RIAP9USAE/VEgBf1RIAb9USAH/VEgCP1RIAn9Uf0LBABBgAQoAgALnwEBCHsDQCACIAD9AAQA/VEhAiADIAD9AAQQ/VEhAyAEIAD9AAQg/VEhBCAFIAD9AAQw/VEhBSAGIAD9AARA/VEhBiAHIAD9AARQ/VEhByAIIAD9AARg/VEhCCAJIAD9AARw/VEhCSAAQYABaiIAIAFJDQALQYAEIAIgA/1RIAT9USAF/VEgBv1RIAf9USAI/VEgCf1R/QsEAEGABCgCAAs=";

interface Exports {
  memory: WebAssembly.Memory;
  tile(repeats: number): number;
  stream(from: number, to: number): number;
}

const { instance } = await WebAssembly.instantiate(Uint8Array.fromBase64(MODULE));
const exports = instance.exports as unknown as Exports;
const START = 1 << 16;
// pages that were never written are all the same one, in the cache
new Uint8Array(exports.memory.buffer).fill(1);
new Float32Array(exports.memory.buffer, 0, START / 4).fill(0.5);
/** Bytes that are read: more than the caches hold. */
export const STREAM_BYTES = 96 << 20;
/** Operations of {@linkcode multiplyTile}. */
export const TILE_OPERATIONS = 288 * 20_000;

/** Reads {@linkcode STREAM_BYTES} bytes. */
export function readStream(): void {
  exports.stream(START, START + STREAM_BYTES);
}

/** Multiplies and adds {@linkcode TILE_OPERATIONS} times. */
export function multiplyTile(): void {
  exports.tile(TILE_OPERATIONS / 288);
}
