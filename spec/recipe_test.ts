import { assertEquals } from "@std/assert";
import { selects } from "./recipe.ts";

Deno.test("select: globs, whole words, and regular expressions over roles and ids", () => {
  const expert = { role: "mlp.experts.3.down", id: "blocks.12.mlp.experts.3.down" };
  const cases: [pattern: string, selected: boolean][] = [
    ["*", true],
    ["mlp.*", true],
    ["blocks.12.*", true],
    ["blocks.1.*", false],
    ["blocks.1", false],
    ["blocks.12", true],
    ["experts", true],
    ["expert", false],
    ["experts.3", true],
    ["experts.3.up", false],
    ["down", true],
    ["mlp.down", false],
    ["mlp.experts.*.down", true],
    ["/experts\\.[0-3]\\.(up|down)$/", true],
    ["/^experts/", false],
    ["/^blocks\\.1?[0-9]\\./", true],
    ["head", false],
  ];
  for (const [pattern, selected] of cases) {
    assertEquals(selects([pattern], expert), selected, pattern);
    assertEquals(selects(["nothing", pattern], expert), selected, pattern);
  }
  assertEquals(selects(["head"], { role: "head", id: "head" }), true);
  assertEquals(selects(["a.c"], { role: "abc", id: "abc" }), false);
});
