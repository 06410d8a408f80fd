/**
 * Builds the kernels: Rust to two WebAssembly modules in `kernels-wasm/lib`, with their types, as
 * JavaScript modules that hold the bytes in base64, so that they load without any permission.
 *
 * - `simd128`: own memory, no threads; runs everywhere
 * - `threads`: shared memory from outside, atomics
 *
 * Needs rustc and cargo with the sources of the standard library, wasm-ld and wasm-bindgen. They are
 * looked for in `WASM_RUSTC`, `WASM_CARGO`, `WASM_LD` and `WASM_BINDGEN`, then in the usual places.
 * The result depends on the sources and the versions alone, not on the folder.
 *
 * @module
 */

const ROOT = new URL("../kernels-wasm/", import.meta.url);
const WASM_BINDGEN_VERSION = "0.2.130";
const MAXIMUM_BYTES = 65535 * 65536;

interface Flavour {
  name: "simd128" | "threads";
  features: string;
  link: string[];
}

const FLAVOURS: Flavour[] = [
  { name: "simd128", features: "+simd128", link: [] },
  {
    name: "threads",
    features: "+simd128,+atomics,+bulk-memory,+mutable-globals",
    link: [
      "--shared-memory",
      "--import-memory",
      `--max-memory=${MAXIMUM_BYTES}`,
      "--export=__wasm_init_tls",
      "--export=__tls_size",
      "--export=__tls_align",
      "--export=__tls_base",
      "--export=__heap_base",
    ],
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
  await run(tools.cargo, [
    "build",
    "--release",
    "--locked",
    "--lib",
    "--target",
    "wasm32-unknown-unknown",
    "-Zbuild-std=std,panic_abort",
    "--target-dir",
    target,
  ], { RUSTC: tools.rustc, RUSTC_BOOTSTRAP: "1", CARGO_ENCODED_RUSTFLAGS: flags.join("\x1f") });
  await run(tools.bindgen, [
    `${target}/wasm32-unknown-unknown/release/lowbit_kernels.wasm`,
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

async function main() {
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
    const text = `/** The module, in base64. */\nexport default "${wasm.toBase64()}";\n`;
    await write(`${name}_wasm.js`, `// @ts-self-types="./wasm.d.ts"\n${text}`);
    // both modules export the same functions
    if (name === "simd128") await write("exports.d.ts", types);
    console.error(`${name}: ${wasm.length} bytes`);
  }
  await write(
    "wasm.d.ts",
    "/** A module, in base64. */\ndeclare const base64: string;\nexport default base64;\n",
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
