/** Needs --allow-read and --allow-write. */

import { assertEquals } from "@std/assert";
import { diskFolder } from "./folder.ts";

Deno.test("folder: links may not lead out of it, but into the blobs of the hub's cache", async () => {
  const root = await Deno.makeTempDir();
  try {
    const snapshot = `${root}/model/snapshots/abc`;
    await Deno.mkdir(snapshot, { recursive: true });
    await Deno.mkdir(`${root}/model/blobs`);
    for (const name of ["model/blobs/x", "secret", "model/snapshots/abc/own"]) {
      await Deno.writeTextFile(`${root}/${name}`, name);
    }
    await Deno.symlink("../../blobs/x", `${snapshot}/blob`);
    await Deno.symlink("../../../secret", `${snapshot}/out`);
    await Deno.symlink("own", `${snapshot}/inside`);
    await Deno.symlink("nowhere", `${snapshot}/broken`);
    const folder = await diskFolder(snapshot);
    const result = async (name: string) => {
      try {
        const source = await folder.open(name);
        source.close();
        return "open";
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    assertEquals(await result("own"), "open");
    assertEquals(await result("blob"), "open");
    assertEquals(await result("inside"), "open");
    assertEquals(await result("out"), "MALFORMED");
    assertEquals(await result("broken"), "NOT_FOUND");
    assertEquals(await result("../abc/own"), "MALFORMED");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
