import { assert, assertEquals, assertThrows } from "@std/assert";
import { LowbitError } from "../spec/mod.ts";
import { readYaml } from "./yaml.ts";

Deno.test("fields have lines: nested maps, lists, lists of maps, lists at the parent's indent", () => {
  const { document, lineOf } = readYaml(
    [
      "id: x # a comment",
      "cast:",
      "  rounding: half_up",
      "values:",
      "- 1",
      "- 2",
      "assign:",
      "  - select: [a, b]",
      "    weight:",
      "      base: int4",
      "  - select: [c]",
      "  -",
      "    deep: { x: 1 }",
      '"quoted key": 1',
    ].join("\n"),
    "x.yaml",
  );
  assert(typeof document === "object");
  const lines = {
    id: 1,
    "cast.rounding": 3,
    values: 4,
    "values.1": 6,
    "assign.0.select": 8,
    "assign.0.select.1": 8,
    "assign.0.weight.base": 10,
    "assign.1.select": 11,
    "assign.2.deep.x": 13,
    "quoted key": 14,
    "no.such": 1,
  };
  for (const [field, line] of Object.entries(lines)) assertEquals(lineOf(field), line, field);
});

Deno.test("hostile documents are refused with a line, and quickly", () => {
  const bomb = ["a: &a [x, x, x, x, x, x, x, x]"];
  for (const [name, before] of ["ba", "cb", "dc", "ed", "fe", "gf"].map((p) => [...p])) {
    bomb.push(`${name}: &${name} [${Array(8).fill(`*${before}`).join(", ")}]`);
  }
  const cases: [name: string, text: string, code: string, place: string][] = [
    ["duplicate keys", "a: 1\nb: 2\na: 3\n", "MALFORMED", "x.yaml:3"],
    ["deep brackets", "[".repeat(5000) + "]".repeat(5000), "LIMIT", "x.yaml:1"],
    ["deep dashes", "- ".repeat(5000) + "1", "LIMIT", "x.yaml:1"],
    [
      "deep indentation",
      Array.from({ length: 700 }, (_, i) => " ".repeat(i) + "a:").join("\n"),
      "LIMIT",
      "x.yaml:514",
    ],
    ["alias bomb", bomb.join("\n"), "LIMIT", "x.yaml"],
    ["alias of itself", "a: &a [*a]", "LIMIT", "x.yaml"],
    ["unknown alias", "a: 1\nb: *c", "MALFORMED", "x.yaml"],
    ["unknown tag", "a: !!js/function x", "MALFORMED", "x.yaml"],
    ["two documents", "a: 1\n---\nb: 2", "MALFORMED", "x.yaml"],
    ["open bracket", "a: [1, 2", "MALFORMED", "x.yaml"],
    ["long text", "a: " + "x".repeat(1 << 20), "LIMIT", "x.yaml"],
  ];
  for (const [name, text, code, place] of cases) {
    const started = performance.now();
    const error = assertThrows(() => readYaml(text, "x.yaml"), LowbitError, undefined);
    assertEquals([error.code, error.file?.startsWith(place)], [code, true], `${name}: ${error}`);
    assert(performance.now() - started < 2000, `${name} took long`);
  }
});

Deno.test("names that mean something to JavaScript are plain keys", () => {
  const { document } = readYaml("__proto__: { x: 1 }\nconstructor: 2\n", "x.yaml");
  assertEquals(Object.getPrototypeOf(document), Object.prototype);
  assert(Object.hasOwn(document as object, "constructor"));
  assertEquals(({} as Record<string, unknown>).x, undefined);
});
