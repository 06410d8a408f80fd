/**
 * Cases of safetensors, GGUF and indices.
 *
 * @module
 */

import { bytes, entry, gguf, gtext, info, le, pair, safetensors } from "./bytes.ts";
import { type Case, one } from "./case.ts";

const F = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) =>
  entry("F32", shape, begin, end);

/** The cases. */
export function containers(): Case[] {
  const st = (name: string, content: Uint8Array | string, expect: string) =>
    one("safetensors", "a.safetensors", name, content, expect);
  const gg = (name: string, content: Uint8Array, expect: string) =>
    one("gguf", "a.gguf", name, content, expect);
  const M = "error[MALFORMED]", T = "error[TRUNCATED]", L = "error[LIMIT]";
  const shapes: [string, unknown, string][] = [
    ["a negative dimension", [-1], M],
    ["a fractional dimension", [0.5], M],
    ["a text as shape", "1", M],
    ["a null shape", null, M],
    ["a nested shape", [[1]], M],
    ["a dimension of 2^53", [2 ** 53], M],
    ["a product that overflows", [2 ** 31, 2 ** 31], L],
    ["a product that wraps to one at 64 bits", [2 ** 32, 2 ** 32], L],
    ["a product that overflows before a zero", [2 ** 52, 2 ** 10, 0], L],
    ["seventeen dimensions", Array(17).fill(1), L],
    ["a boolean dimension", [true], M],
  ];
  const types: [string, number, number][] = [
    ["F64", 2, 16],
    ["F16", 3, 6],
    ["BF16", 3, 6],
    ["I64", 1, 8],
    ["U64", 1, 8],
    ["I32", 1, 4],
    ["U32", 1, 4],
    ["I16", 1, 2],
    ["U16", 1, 2],
    ["I8", 1, 1],
    ["U8", 1, 1],
    ["BOOL", 1, 1],
    ["F8_E4M3", 1, 1],
    ["F8_E5M2", 1, 1],
    ["F8_E4M3FNUZ", 1, 1],
    ["F8_E5M2FNUZ", 1, 1],
    ["F4", 4, 2],
    ["F6_E2M3", 4, 3],
    ["F6_E3M2", 8, 6],
  ];
  return [
    st("empty", new Uint8Array(0), `${T} a.safetensors: has 0 bytes`),
    st("seven bytes", new Uint8Array(7), `${T} a.safetensors: has 7 bytes`),
    st("a header length of 2^64 - 1", safetensors("{}", 0, 2n ** 64n - 1n), L),
    st("a header of 100 MB and a byte", safetensors("{}", 0, 100_000_001), L),
    st("a header longer than the file", safetensors("{}", 0, 99), T),
    st("a header of no bytes", safetensors("", 4), M),
    st("a header that is a list", safetensors("[]"), M),
    st("a header that starts with a space", safetensors(" {}"), "does not start with {"),
    st("a header that ends inside a text", safetensors('{"a'), M),
    st("text behind the header", safetensors("{}x"), M),
    st("a header that is not UTF-8", safetensors(bytes('{"', 0xc3, 0x28, '":1}')), "UTF-8"),
    st("an overlong UTF-8 sequence", safetensors(bytes('{"', 0xc0, 0x80, '":1}')), "UTF-8"),
    st("a mark of byte order", safetensors(bytes(0xef, 0xbb, 0xbf, "{}")), M),
    st("a control character in a name", safetensors('{"\u0001":1}'), M),
    st("a comment", safetensors("{/**/}"), M),
    st("a key without quotes", safetensors("{a:1}"), M),
    st("a comma too many", safetensors('{"a":1,}'), M),
    st("a number with a leading zero", safetensors('{"a":01}'), M),
    st("NaN", safetensors('{"a":NaN}'), M),
    st("nesting of nine", safetensors(`{"a":${"[".repeat(9)}${"]".repeat(9)}}`), L),
    st("nesting of ten thousand", safetensors(`{"a":${"[".repeat(10_000)}`), L),
    st(
      "two tensors of one name",
      safetensors(`{"a":${JSON.stringify(F(0, 4))},"a":${JSON.stringify(F(0, 4))}}`, 4),
      "occurs twice",
    ),
    st(
      "one name written in two ways",
      safetensors(`{"a":${JSON.stringify(F(0, 4))},"\\u0061":${JSON.stringify(F(0, 4))}}`, 4),
      "occurs twice",
    ),
    st(
      "two keys in an entry",
      safetensors('{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', 1),
      "occurs twice",
    ),
    st("__proto__ twice", safetensors('{"__proto__":1,"__proto__":2}'), "occurs twice"),
    st("an unknown key", safetensors({ a: { ...F(0, 4), x: 1 } }, 4), "unknown key"),
    st("an entry that is null", safetensors({ a: null }), "not an object"),
    st("an entry that is a number", safetensors({ a: 1 }), "not an object"),
    st("no dtype", safetensors({ a: { shape: [1], data_offsets: [0, 4] } }, 4), "unknown dtype"),
    st("an unknown dtype", safetensors({ a: entry("F99", [1], 0, 4) }, 4), "unknown dtype"),
    st("a dtype of Object.prototype", safetensors({ a: entry("constructor", [1], 0, 4) }, 4), M),
    st("a dtype in lower case", safetensors({ a: entry("f32", [1], 0, 4) }, 4), M),
    st("complex numbers", safetensors({ a: entry("C64", [1], 0, 8) }, 8), "error[UNSUPPORTED]"),
    ...shapes.map(([name, shape, code]) => st(name, safetensors({ a: F(0, 4, shape) }, 4), code)),
    st("no offsets", safetensors({ a: { dtype: "U8", shape: [0] } }), M),
    st(
      "three offsets",
      safetensors({ a: { dtype: "U8", shape: [1], data_offsets: [0, 1, 2] } }, 1),
      M,
    ),
    st("offsets that are texts", safetensors({ a: entry("U8", [1], "0", "1") }, 1), M),
    st("a negative offset", safetensors({ a: entry("U8", [2], -1, 1) }, 1), M),
    st(
      "an end before its begin",
      safetensors({ a: entry("U8", [1], 2, 1) }, 2),
      "before it begins",
    ),
    st("fewer bytes than the shape", safetensors({ a: entry("F32", [2], 0, 4) }, 4), M),
    st("more bytes than the shape", safetensors({ a: entry("F32", [1], 0, 8) }, 8), M),
    st("a nibble of F4", safetensors({ a: entry("F4", [1], 0, 1) }, 1), "not whole bytes"),
    st("data behind the end", safetensors({ a: F(0, 8) }, 4), T),
    st("two tensors in one place", safetensors({ a: F(0, 4), b: F(0, 4) }, 4), "overlaps"),
    st(
      "an overlap of one byte",
      safetensors({ a: F(0, 4), b: entry("U8", [4], 3, 7) }, 7),
      "overlaps",
    ),
    st("a gap between tensors", safetensors({ a: F(0, 4), b: F(8, 12) }, 12), "gap of 4 bytes"),
    st("a gap before the first", safetensors({ a: F(4, 8) }, 8), "gap of 4 bytes"),
    st("bytes behind the last", safetensors({ a: F(0, 4) }, 5), "belong to no tensor"),
    st("bytes of no tensor", safetensors({}, 5), "belong to no tensor"),
    st("metadata of numbers", safetensors({ __metadata__: { a: 1 } }), "__metadata__"),
    st("metadata that are a list", safetensors({ __metadata__: [] }), "__metadata__"),
    st("metadata of lowbit that are no JSON", safetensors({ __metadata__: { lowbit: "{" } }), M),
    ...types.map(([type, count, size]) =>
      st(`${type} alone`, safetensors({ a: entry(type, [count], 0, size) }, size), `a[${count}]=0`)
    ),
    st(
      "F8_E8M0, which has no zero",
      safetensors({ a: entry("F8_E8M0", [1], 0, 1) }, 1),
      "a[1]=5.87",
    ),
    st(
      "__proto__ as a name",
      safetensors('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
      "__proto__[1]=0",
    ),
    st("constructor as a name", safetensors({ constructor: F(0, 4) }, 4), "constructor[1]=0"),
    st("an empty name", safetensors({ "": F(0, 4) }, 4), "[1]=0"),
    st("a name of a path", safetensors({ "../../a": F(0, 4) }, 4), "../../a[1]=0"),
    st("a name of 10,000 characters", safetensors({ ["x".repeat(10_000)]: F(0, 4) }, 4), "xx[1]=0"),
    st("a scalar", safetensors({ a: F(0, 4, []) }, 4), "a[]=0"),
    st("an empty tensor", safetensors({ a: F(0, 0, [0, 7]) }), "a[0,7]"),
    st("no tensors", safetensors({}), ""),
    st(
      "a header padded by spaces",
      safetensors(`{"a":${JSON.stringify(F(0, 4))}}      `, 4),
      "a[1]=0",
    ),
    st("tensors out of order", safetensors({ b: F(4, 8), a: F(0, 4) }, 8), "a[1]=0 b[1]=0"),
    st(
      "empty tensors at one place",
      safetensors({ a: F(0, 0), b: F(0, 0), c: F(0, 4) }, 4),
      "c[1]=0",
    ),
    st("sixteen dimensions", safetensors({ a: F(0, 4, Array(16).fill(1)) }, 4), "a[1,1"),
    st(
      "whole numbers written as 4.0",
      safetensors('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4e0]}}', 4),
      "a[1]=0",
    ),
    gg("a magic alone", bytes("GGUF"), T),
    gg("another magic", bytes("GGUX", new Uint8Array(28)), M),
    gg("version 1", gguf({ version: 1 }), "error[UNSUPPORTED]"),
    gg("big-endian", gguf({ version: 0x03000000 }), "big-endian"),
    gg("2^63 tensors", gguf({ counts: [2n ** 63n, 0] }), T),
    gg("2^63 metadata", gguf({ counts: [0, 2n ** 63n] }), T),
    gg("a key of 2^62 bytes", gguf({ pairs: [bytes(le(2n ** 62n, 8), le(0, 4))] }), T),
    gg("a key longer than allowed", gguf({ pairs: [pair("k".repeat(65_536), 4, le(1, 4))] }), L),
    gg(
      "a key that is not UTF-8",
      gguf({ pairs: [bytes(le(1, 8), 0xff, le(4, 4), le(1, 4))] }),
      "UTF-8",
    ),
    gg(
      "a key twice",
      gguf({ pairs: [pair("a", 4, le(1, 4)), pair("a", 4, le(1, 4))] }),
      "occurs twice",
    ),
    gg("an unknown value type", gguf({ pairs: [pair("a", 13, le(1, 4))] }), "value type 13"),
    gg("a boolean of 2", gguf({ pairs: [pair("a", 7, le(2, 1))], data: 8 }), "boolean 2"),
    gg("a text that is too long", gguf({ pairs: [pair("a", 8, le(999, 8))] }), T),
    gg("an array of 2^60", gguf({ pairs: [pair("a", 9, bytes(le(4, 4), le(2n ** 60n, 8)))] }), T),
    gg(
      "arrays nested in arrays",
      gguf({ pairs: [pair("a", 9, bytes(...Array(9).fill(bytes(le(9, 4), le(1, 8)))))] }),
      L,
    ),
    gg(
      "an alignment of 0",
      gguf({ pairs: [pair("general.alignment", 4, le(0, 4))] }),
      "general.alignment",
    ),
    gg(
      "an alignment of 24",
      gguf({ pairs: [pair("general.alignment", 4, le(24, 4))] }),
      "general.alignment",
    ),
    gg(
      "an alignment that is a text",
      gguf({ pairs: [pair("general.alignment", 8, gtext("32"))] }),
      "general.alignment",
    ),
    gg("five dimensions", gguf({ infos: [info("a", [1, 1, 1, 1, 1], 0, 0)], data: 4 }), L),
    gg("a dimension of 2^63", gguf({ infos: [info("a", [2n ** 63n], 0, 0)], data: 4 }), L),
    gg(
      "a product that overflows",
      gguf({ infos: [info("a", [2 ** 40, 2 ** 40], 0, 0)], data: 4 }),
      L,
    ),
    gg("an unknown type", gguf({ infos: [info("a", [1], 200, 0)], data: 4 }), "ggml type 200"),
    gg(
      "a type that was removed",
      gguf({ infos: [info("a", [32], 4, 0)], data: 32 }),
      "ggml type 4",
    ),
    gg("half a block", gguf({ infos: [info("a", [16], 2, 0)], data: 32 }), "not whole Q4_0 blocks"),
    gg(
      "an offset off its alignment",
      gguf({ infos: [info("a", [1], 0, 4)], data: 32 }),
      "not a multiple of 32",
    ),
    gg("an offset of 2^63", gguf({ infos: [info("a", [1], 0, 2n ** 63n)], data: 4 }), L),
    gg("data behind the end", gguf({ infos: [info("a", [99], 0, 0)], data: 4 }), T),
    gg(
      "two tensors of one name",
      gguf({ infos: [info("a", [1], 0, 0), info("a", [1], 0, 32)], data: 64 }),
      "occurs twice",
    ),
    gg(
      "two tensors in one place",
      gguf({ infos: [info("a", [1], 0, 0), info("b", [1], 0, 0)], data: 4 }),
      "overlaps",
    ),
    gg("nothing", gguf({}), ""),
    gg("version 2", gguf({ version: 2, infos: [info("a", [1], 0, 0)], data: 4 }), "a[1]=0"),
    gg(
      "an empty key",
      gguf({ pairs: [pair("", 4, le(1, 4))], infos: [info("a", [1], 0, 0)], data: 4 }),
      "a[1]=0",
    ),
    gg(
      "__proto__ as a key and a name",
      gguf({
        pairs: [pair("__proto__", 4, le(1, 4))],
        infos: [info("__proto__", [1], 0, 0)],
        data: 4,
      }),
      "__proto__[1]=0",
    ),
    gg("a scalar", gguf({ infos: [info("a", [], 0, 0)], data: 4 }), "a[]=0"),
    gg("an empty tensor", gguf({ infos: [info("a", [0], 0, 0)] }), "a[0]"),
    gg(
      "an alignment of 64",
      gguf({
        pairs: [pair("general.alignment", 4, le(64, 4))],
        infos: [info("a", [1], 0, 64)],
        data: 132,
      }),
      "a[1]=0",
    ),
    gg(
      "an empty array",
      gguf({
        pairs: [pair("a", 9, bytes(le(8, 4), le(0, 8)))],
        infos: [info("a", [1], 0, 0)],
        data: 4,
      }),
      "a[1]=0",
    ),
    gg(
      "tensors out of order",
      gguf({ infos: [info("b", [1], 0, 32), info("a", [1], 0, 0)], data: 36 }),
      "b[1]=0 a[1]=0",
    ),
    gg(
      "bytes behind the last tensor",
      gguf({ infos: [info("a", [1], 0, 0)], data: 400 }),
      "a[1]=0",
    ),
  ];
}
