import { assertEquals } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { parseJson, sortedJson, toPlain } from "./json.ts";

const codeOf = (text: string | Uint8Array, options = {}) => {
  try {
    parseJson(text, options);
    return "none";
  } catch (error) {
    return error instanceof LowbitError ? error.code : String(error);
  }
};

Deno.test("json: equals JSON.parse on valid documents", () => {
  const documents = [
    "null",
    " [1, -0, 2.5e-3, 1E+2, true, false] ",
    '{"a": {"b": []}, "": "\\u00e9\\n\\"\\\\\\/\\ud83d\\ude00", "1": 0}',
    '"\u{1f600} é"',
    "[[[[]]],{}]",
  ];
  for (const text of documents) assertEquals(toPlain(parseJson(text)), JSON.parse(text), text);
});

Deno.test("json: refuses what JSON.parse refuses, and more", () => {
  const malformed = [
    "",
    "{",
    "[1,",
    "[1,]",
    "{a:1}",
    "{'a':1}",
    '{"a" 1}',
    '{"a":1,}',
    "01",
    "+1",
    ".5",
    "1.",
    "1e",
    "NaN",
    "Infinity",
    "1e999",
    "tru",
    '"\n"',
    '"\\x41"',
    '"\\u12g4"',
    '"open',
    "1 2",
    "\ufeff1",
    '{"a":1,"a":2}',
    '{"x":{"__proto__":1,"__proto__":2}}',
    '{"a":1,"\\u0061":2}',
  ];
  for (const text of malformed) assertEquals(codeOf(text), "MALFORMED", text);
  assertEquals(codeOf(new Uint8Array([0x22, 0xc3, 0x28, 0x22])), "MALFORMED");
});

Deno.test("json: depth and number of values have limits", () => {
  assertEquals(codeOf("[".repeat(100_000)), "LIMIT");
  assertEquals(codeOf("[[1]]", { maxDepth: 2 }), "none");
  assertEquals(codeOf("[[[1]]]", { maxDepth: 2 }), "LIMIT");
  assertEquals(codeOf("[1,2,3]", { maxValues: 3 }), "LIMIT");
});

Deno.test("json: __proto__ is a key like any other", () => {
  const plain = toPlain(parseJson('{"__proto__": {"x": 1}, "constructor": 2}'));
  assertEquals(Object.keys(plain as object), ["__proto__", "constructor"]);
  assertEquals(({} as { x?: number }).x, undefined);
  assertEquals(sortedJson(plain), '{"__proto__":{"x":1},"constructor":2}');
});

Deno.test("json: sorted keys do not depend on the order of making", () => {
  assertEquals(sortedJson({ b: [{ d: 1, c: 2 }], a: null }), '{"a":null,"b":[{"c":2,"d":1}]}');
  assertEquals(sortedJson({ a: null, b: [{ c: 2, d: 1 }] }), '{"a":null,"b":[{"c":2,"d":1}]}');
});
