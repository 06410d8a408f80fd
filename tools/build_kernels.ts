/**
 * Builds the kernels: Rust to WebAssembly modules in `kernels-wasm/lib`, with their types, as
 * JavaScript modules that hold the bytes in base64, so that they load without any permission.
 *
 * - `simd128`: all operations; runs everywhere
 * - `relaxed`: beside it, in its memory, the operations that gain by relaxed SIMD; it holds no data,
 *   so that it needs no place of its own
 *
 * Both work in memory that they import, and are built for memory that threads share. The same code
 * is right in memory of one thread: whoever loads a module clears a flag of its memory import, whose
 * place is written beside the bytes. So there is one file for both.
 *
 * Needs rustc and cargo with the sources of the standard library, wasm-ld and wasm-bindgen. They are
 * looked for in `WASM_RUSTC`, `WASM_CARGO`, `WASM_LD` and `WASM_BINDGEN`, then in the usual places.
 * The result depends on the sources and the versions alone, not on the folder. `--check` builds
 * without writing, and compares with what is committed: exit code 1 if it differs; a compiler of
 * another version, or none, is said and skipped.
 *
 * @module
 */

const ROOT = new URL("../kernels-wasm/", import.meta.url);
const WASM_BINDGEN_VERSION = "0.2.130";
const MAXIMUM_BYTES = 65535 * 65536;

interface Flavour {
  name: "simd128" | "relaxed";
  features: string;
  link: string[];
}

const THREADS = "+atomics,+bulk-memory,+mutable-globals";
const MEMORY = ["--shared-memory", "--import-memory", `--max-memory=${MAXIMUM_BYTES}`];

const FLAVOURS: Flavour[] = [
  {
    name: "simd128",
    features: `+simd128,${THREADS}`,
    link: [
      ...MEMORY,
      "--export=__wasm_init_tls",
      "--export=__tls_size",
      "--export=__tls_align",
      "--export=__tls_base",
      "--export=__heap_base",
    ],
  },
  {
    name: "relaxed",
    features: `+simd128,+relaxed-simd,${THREADS}`,
    link: [...MEMORY, "--export=__stack_pointer", "-zstack-size=1024"],
  },
];

interface Tools {
  rustc: string;
  cargo: string;
  linker: string;
  bindgen: string;
}

/** The first of the candidates that runs with `--version`, and what it says. */
async function tool(name: string, variable: string, candidates: string[]): Promise<string> {
  const given = Deno.env.get(variable);
  for (const candidate of given ? [given] : candidates) {
    if (await version(candidate) !== undefined) return candidate;
  }
  console.error(
    `error: ${name} not found (tried ${given ?? candidates.join(", ")}); ` +
      `install it or set ${variable} (what is needed is at the top of tools/build_kernels.ts)`,
  );
  Deno.exit(1);
}

async function version(command: string): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args: ["--version"] }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch {
    return undefined;
  }
}

async function findTools(): Promise<Tools> {
  const home = Deno.env.get("CARGO_HOME") ?? `${Deno.env.get("HOME")}/.cargo`;
  const tools = {
    rustc: await tool("rustc with rust-src", "WASM_RUSTC", ["/usr/bin/rustc", "rustc"]),
    cargo: await tool("cargo", "WASM_CARGO", ["/usr/bin/cargo", "cargo"]),
    linker: await tool("wasm-ld", "WASM_LD", [
      "/usr/lib/llvm-19/bin/wasm-ld",
      "wasm-ld-19",
      "wasm-ld",
      "rust-lld",
    ]),
    bindgen: await tool("wasm-bindgen", "WASM_BINDGEN", [
      "wasm-bindgen",
      `${home}/bin/wasm-bindgen`,
    ]),
  };
  const bindgen = await version(tools.bindgen);
  if (!bindgen?.endsWith(WASM_BINDGEN_VERSION)) {
    console.error(`error: wasm-bindgen must be ${WASM_BINDGEN_VERSION}, found ${bindgen}`);
    Deno.exit(1);
  }
  return tools;
}

async function run(command: string, args: string[], env: Record<string, string> = {}) {
  const { success, stderr } = await new Deno.Command(command, {
    args,
    env,
    cwd: ROOT,
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  console.error(new TextDecoder().decode(stderr));
  console.error(`error: ${command} failed`);
  Deno.exit(1);
}

/**
 * Compiles one module; its bytes, and the types of its raw exports. The JavaScript that wasm-bindgen
 * generates is not kept: it holds one instance a program, and `instance.ts` makes as many as needed.
 */
async function compile(flavour: Flavour, tools: Tools) {
  const target = decodeURIComponent(new URL(`target/${flavour.name}`, ROOT).pathname);
  const folder = decodeURIComponent(ROOT.pathname).replace(/\/$/, "");
  const cargoHome = Deno.env.get("CARGO_HOME") ?? `${Deno.env.get("HOME")}/.cargo`;
  const sysroot = await output(tools.rustc, ["--print", "sysroot"]);
  const flags = [
    `-Ctarget-feature=${flavour.features}`,
    `-Clinker=${tools.linker}`,
    `--remap-path-prefix=${folder}=/kernels`,
    `--remap-path-prefix=${cargoHome}=/cargo`,
    `--remap-path-prefix=${sysroot}=/rust`,
    "-Zlocation-detail=none",
    // the scalar twins stay scalar; the SIMD versions are written by hand
    "-Cno-vectorize-loops",
    "-Cno-vectorize-slp",
    "-Zfmt-debug=none",
    "-Zunstable-options",
    "-Cpanic=immediate-abort",
    ...flavour.link.map((argument) => `-Clink-arg=${argument}`),
  ];
  const beside = flavour.name === "relaxed";
  await run(tools.cargo, [
    "build",
    "--release",
    "--locked",
    ...beside ? ["--example", "relaxed"] : ["--lib"],
    "--target",
    "wasm32-unknown-unknown",
    "-Zbuild-std=std,panic_abort",
    "--target-dir",
    target,
  ], { RUSTC: tools.rustc, RUSTC_BOOTSTRAP: "1", CARGO_ENCODED_RUSTFLAGS: flags.join("\x1f") });
  const built = `${target}/wasm32-unknown-unknown/release`;
  if (beside) return { wasm: await dataFree(`${built}/examples/relaxed.wasm`), types: "" };
  await run(tools.bindgen, [
    `${built}/lowbit_kernels.wasm`,
    "--target",
    "web",
    "--out-dir",
    `${target}/out`,
    "--out-name",
    flavour.name,
  ]);
  const out = (suffix: string) => `${target}/out/${flavour.name}${suffix}`;
  return {
    wasm: await Deno.readFile(out("_bg.wasm")),
    types: await Deno.readTextFile(out("_bg.wasm.d.ts")),
  };
}

/** The numbers of sections. */
const SECTION = { custom: 0, import: 2, data: 11 };

/** The sections of a module: number, where they start, where their contents start, where they end. */
function* sections(bytes: Uint8Array) {
  for (let at = 8; at < bytes.length;) {
    const start = at;
    const [size, content] = leb(bytes, at + 1);
    at = content + size;
    yield { id: bytes[start], start, content, end: at };
  }
}

/** An unsigned number in LEB128, and where it ends. */
function leb(bytes: Uint8Array, at: number): [value: number, end: number] {
  let value = 0;
  for (let shift = 0;; shift += 7) {
    const byte = bytes[at++];
    value |= (byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

/** The module of a file, without its custom sections; it must not place data in memory. */
async function dataFree(file: string) {
  const bytes = await Deno.readFile(file);
  const kept = [...sections(bytes)].filter(({ id }) => id !== SECTION.custom);
  if (kept.some(({ id }) => id === SECTION.data)) {
    throw new Error(`${file} holds data: keep tables out of it`);
  }
  const parts = kept.map(({ start, end }) => bytes.slice(start, end));
  return new Uint8Array(await new Blob([bytes.slice(0, 8), ...parts]).arrayBuffer());
}

/** Where a module says that the memory it imports is shared. */
function memoryFlags(bytes: Uint8Array): number {
  const found = [...sections(bytes)].find(({ id }) => id === SECTION.import)!;
  let [count, at] = leb(bytes, found.content);
  for (; count > 0; count--) {
    for (let name = 0; name < 2; name++) {
      const [length, start] = leb(bytes, at);
      at = start + length;
    }
    const kind = bytes[at++];
    if (kind === 2) return at;
    if (kind !== 0) break;
    at = leb(bytes, at)[1]; // a function has the number of its type
  }
  throw new Error("the module imports no memory, or something else before it");
}

async function output(command: string, args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args }).output();
  return new TextDecoder().decode(stdout).trim();
}

/** The SHA-256 of bytes, in hexadecimal digits. */
async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** The hash of the sources: each file's path and content, in sorted order. */
export async function sourceHash(root: URL = ROOT): Promise<string> {
  const names = ["Cargo.toml", "Cargo.lock"];
  for await (const entry of Deno.readDir(new URL("src/", root))) {
    if (entry.isFile && entry.name.endsWith(".rs")) names.push(`src/${entry.name}`);
  }
  const lines: string[] = [];
  for (const name of names.sort()) {
    lines.push(`${await sha256(await Deno.readFile(new URL(name, root)))}  ${name}\n`);
  }
  return await sha256(new TextEncoder().encode(lines.join("")));
}

const HEADER = "// Generated by `deno task build:kernels`; do not edit.\n" +
  "// deno-lint-ignore-file\n// deno-fmt-ignore-file\n";

/** What is recorded of the committed modules. */
interface BuildRecord {
  sources: string;
  rustc?: string;
  wasmBindgen: string;
  modules: Record<string, { bytes: number; sha256: string }>;
}

/** Why a build here cannot be compared with the committed one; undefined if it can. */
async function whyNot(record: BuildRecord): Promise<string | undefined> {
  const rustc = Deno.env.get("WASM_RUSTC") ?? "/usr/bin/rustc";
  const found = await version(rustc);
  if (found !== record.rustc) return `${rustc} is ${found ?? "not there"}, not ${record.rustc}`;
  const home = Deno.env.get("CARGO_HOME") ?? `${Deno.env.get("HOME")}/.cargo`;
  for (
    const candidate of [Deno.env.get("WASM_BINDGEN"), "wasm-bindgen", `${home}/bin/wasm-bindgen`]
  ) {
    if (candidate && (await version(candidate))?.endsWith(WASM_BINDGEN_VERSION)) return undefined;
  }
  return `there is no wasm-bindgen ${WASM_BINDGEN_VERSION}`;
}

/** Builds again and compares; the exit code. */
async function check(): Promise<number> {
  const file = new URL("lib/build.json", ROOT);
  const record: BuildRecord = JSON.parse(await Deno.readTextFile(file));
  const reason = await whyNot(record);
  if (reason !== undefined) {
    console.log(`skipped: the kernels were not built again: ${reason}`);
    return 0;
  }
  const tools = await findTools();
  let equal = true;
  for (const flavour of FLAVOURS) {
    const { wasm } = await compile(flavour, tools);
    const hash = await sha256(wasm);
    const same = hash === record.modules[flavour.name].sha256;
    equal &&= same;
    console.log(`${flavour.name}: ${same ? "equal" : `differs: built ${hash}`}`);
  }
  return equal ? 0 : 1;
}

async function main() {
  if (Deno.args.includes("--check")) Deno.exit(await check());
  const tools = await findTools();
  const lib = new URL("lib/", ROOT);
  await Deno.mkdir(lib, { recursive: true });
  const modules: Record<string, { bytes: number; sha256: string }> = {};
  const write = (name: string, text: string) =>
    Deno.writeTextFile(new URL(name, lib), HEADER + text);
  for (const flavour of FLAVOURS) {
    const { name } = flavour;
    const { wasm, types } = await compile(flavour, tools);
    modules[name] = { bytes: wasm.length, sha256: await sha256(wasm) };
    const text = `/** The module, in base64. */\nexport default "${wasm.toBase64()}";\n` +
      `/** Where it says that the memory is shared. */\n` +
      `export const memoryFlags = ${memoryFlags(wasm)};\n`;
    await write(`${name}_wasm.js`, `// @ts-self-types="./wasm.d.ts"\n${text}`);
    if (name === "simd128") await write("exports.d.ts", types);
    console.error(`${name}: ${wasm.length} bytes`);
  }
  await write(
    "wasm.d.ts",
    "/** A module, in base64. */\ndeclare const base64: string;\nexport default base64;\n" +
      "/** Where it says that the memory is shared. */\nexport const memoryFlags: number;\n",
  );
  const record = {
    sources: await sourceHash(),
    rustc: await version(tools.rustc),
    wasmBindgen: WASM_BINDGEN_VERSION,
    modules,
  };
  const file = new URL("build.json", lib);
  await Deno.writeTextFile(file, JSON.stringify(record, null, 2) + "\n");
}

if (import.meta.main) await main();
