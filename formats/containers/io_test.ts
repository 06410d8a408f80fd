import { assertEquals } from "@std/assert";
import { LowbitError } from "../../spec/errors.ts";
import { ioError } from "./io.ts";

Deno.test("io: errors of the system become one clear line with a stable code", () => {
  const system = (code: string) => Object.assign(new Error(`${code} (os error 1)`), { code });
  const cases: [unknown, "read" | "write", string, RegExp][] = [
    [new Deno.errors.NotFound("x"), "read", "NOT_FOUND", /no such file/],
    [new Deno.errors.NotFound("x"), "write", "IO", /folder does not exist/],
    [new Deno.errors.NotCapable("x"), "write", "IO", /--allow-write/],
    [new Deno.errors.PermissionDenied("x"), "write", "IO", /refuses to write/],
    [new Deno.errors.AlreadyExists("x"), "write", "EXISTS", /--overwrite/],
    [system("ENOSPC"), "write", "IO", /no space left/],
    [system("EROFS"), "write", "IO", /read-only/],
    [system("EIO"), "read", "IO", /cannot read it: EIO$/],
    ["text", "read", "IO", /cannot read it: text/],
  ];
  for (const [error, access, code, message] of cases) {
    const made = ioError(error, "a.bin", access);
    assertEquals([made.code, made.file], [code, "a.bin"]);
    assertEquals(message.test(made.message), true, made.message);
  }
  const own = new LowbitError("LIMIT", "x");
  assertEquals(ioError(own, "a", "read"), own);
});
