/** Needs --allow-read and --allow-write. */

import { assert, assertEquals } from "@std/assert";
import type { Output } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { directoryOutput, fileOutput, memoryOutput } from "./output.ts";

const code = (work: Promise<unknown>) =>
  work.then(() => "none", (e) => e instanceof LowbitError ? e.code : String(e));
const bytes = (...values: number[]) => new Uint8Array(values);

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const names = (folder: string) => [...Deno.readDirSync(folder)].map((e) => e.name).sort();

async function put(output: Output, name: string, ...values: number[]): Promise<void> {
  const sink = await output.file(name);
  await sink.write(bytes(...values));
  await sink.close();
}

Deno.test("output: a file appears by rename, patched, and not before", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.gguf`;
    const output = await fileOutput(path);
    const sink = await output.file("any");
    await sink.write(bytes(1, 2, 3));
    await sink.patch(1, bytes(9));
    await sink.write(bytes(4));
    assertEquals(sink.size, 4);
    assertEquals(await code(sink.patch(3, bytes(1, 1))), "SHAPE");
    assertEquals(names(folder).length, 1);
    assert(/^a\.gguf\.partial-[0-9a-f]{8}$/.test(names(folder)[0]));
    assertEquals(await code(output.file("second")), "CONFLICT");
    await output.commit();
    assertEquals(names(folder), ["a.gguf"]);
    assertEquals([...Deno.readFileSync(path)], [1, 9, 3, 4]);
    await output.abort();
    assertEquals(names(folder), ["a.gguf"]);
    assertEquals(await code(output.commit()), "IO");
  }));

Deno.test("output: abort leaves nothing", () =>
  inFolder(async (folder) => {
    const file = await fileOutput(`${folder}/a`);
    await (await file.file("a")).write(bytes(1));
    await file.abort();
    const directory = await directoryOutput(`${folder}/d`);
    await (await directory.file("x")).write(bytes(1));
    await directory.abort();
    await directory.abort();
    assertEquals(names(folder), []);
  }));

Deno.test("output: a folder appears as a whole; a trailing slash does not matter", () =>
  inFolder(async (folder) => {
    const output = await directoryOutput(`${folder}/model/`);
    await put(output, "a", 1);
    await put(output, "b", 2);
    assert(!names(folder).includes("model"));
    await output.commit();
    assertEquals(names(folder), ["model"]);
    assertEquals(names(`${folder}/model`), ["a", "b"]);
  }));

Deno.test("output: what is already there is refused, also when it appears meanwhile", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a`;
    const late = await fileOutput(path);
    await put(late, "a", 1);
    const lateFolder = await directoryOutput(path);
    Deno.writeFileSync(path, bytes(7));
    assertEquals(await code(fileOutput(path)), "EXISTS");
    assertEquals(await code(directoryOutput(path)), "EXISTS");
    assertEquals(await code(late.commit()), "EXISTS");
    assertEquals(await code(lateFolder.commit()), "EXISTS");
    await late.abort();
    await lateFolder.abort();
    assertEquals(names(folder), ["a"]);
    assertEquals([...Deno.readFileSync(path)], [7]);
  }));

Deno.test("output: overwrite replaces a file, an empty folder and a checkpoint, nothing else", () =>
  inFolder(async (folder) => {
    const overwrite = { overwrite: true };
    Deno.writeFileSync(`${folder}/a`, bytes(7));
    const file = await fileOutput(`${folder}/a`, overwrite);
    await put(file, "a", 1);
    assertEquals([...Deno.readFileSync(`${folder}/a`)], [7]);
    await file.commit();
    assertEquals([...Deno.readFileSync(`${folder}/a`)], [1]);

    Deno.mkdirSync(`${folder}/empty`);
    const output = await directoryOutput(`${folder}/empty`, overwrite);
    await put(output, "config.json", 1);
    await put(output, "model.safetensors", 2);
    await output.commit();
    const again = await directoryOutput(`${folder}/empty`, overwrite);
    await put(again, "config.json", 3);
    await again.commit();
    assertEquals(names(`${folder}/empty`), ["config.json"]);
    assertEquals(names(folder), ["a", "empty"]);

    Deno.mkdirSync(`${folder}/home/sub`, { recursive: true });
    assertEquals(await code(directoryOutput(`${folder}/home`, overwrite)), "EXISTS");
    assertEquals(await code(directoryOutput(`${folder}/empty`, overwrite)), "EXISTS");
    assertEquals(await code(directoryOutput(`${folder}/a`, overwrite)), "EXISTS");
    assertEquals(await code(fileOutput(`${folder}/home`, overwrite)), "EXISTS");
  }));

Deno.test("output: a missing folder and a full device are one clear IO error", () =>
  inFolder(async (folder) => {
    assertEquals(await code(directoryOutput(`${folder}/no/such`)), "IO");
    const output = await fileOutput(`${folder}/no/such`);
    assertEquals(await code(output.file("a")), "IO");
    await output.abort();
    const directory = await directoryOutput(`${folder}/d`);
    for (const name of ["../x", "a/b", "a\\b", "..", "", "c:d", "a\0"]) {
      assertEquals(await code(directory.file(name)), "IO", name);
    }
    await directory.abort();
    assertEquals(names(folder), []);
  }));

Deno.test("output: memory keeps files only when committed", async () => {
  const output = memoryOutput();
  await put(output, "a", 1, 2);
  assertEquals(output.files.size, 0);
  assertEquals(await code(output.file("a")), "EXISTS");
  await output.commit();
  assertEquals([...output.files.get("a")!], [1, 2]);
  const dropped = memoryOutput();
  await put(dropped, "a", 1);
  await dropped.abort();
  assertEquals(dropped.files.size, 0);
});
