/**
 * Matrix products beside their peers: `deno task bench:kernels [--json] [--quick] [--python PATH]
 * [--model FILE.gguf [--packages FOLDER]]`; `--only language` or `--only encode` runs those rows alone.
 *
 * One line a case: what ours and the peer's speed are, their ratio, and what it must and should be.
 * All of one shape take turns in one process, in processor time (two threads: time of the clock).
 * Native ggml runs in a process of its own right after, where Python has llama-cpp-python. A table
 * and how cost grows go to docs/generated/bench-kernels.md.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { tiling } from "../spec/granularity.ts";
import type { Kernels, LinearWeight } from "../spec/kernels.ts";
import { multiplyTile, readStream, STREAM_BYTES, TILE_OPERATIONS } from "./ceilings.ts";
import { castLines } from "./encode.ts";
import { growth } from "./growth.ts";
import { compareLanguage } from "./language.ts";
import { clockSeconds, type Contender, takeTurns } from "./measure.ts";
import { ONNXRUNTIME, openProduct } from "./onnxruntime.ts";
import type { ProductKind } from "./onnx_model.ts";
import { type Line, ratioLine, report, writeReport } from "./report.ts";

const args = parseArgs(Deno.args, {
  boolean: ["json", "quick"],
  string: ["python", "model", "packages", "only"],
});
const turns = args.quick ? { rounds: 3, slice: 0.05 } : { rounds: 7, slice: 0.15 };
const shapes = args.quick ? [[1536, 576]] : [[4096, 4096], [11008, 4096]];
const kernels = await loadKernels();
const lines: Line[] = [];

function add(line: Line): void {
  lines.push(line);
  report(line, args.json as boolean);
}

/** Numbers that are not all alike. */
function numbers(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 0.37 + (i >> 7)));
}

/** A symmetric weight of random codes. */
export function weightArguments(n: number, k: number, bits: number, group: number) {
  const t = tiling({ kind: "group", size: group }, n, k);
  const bytes = new Uint8Array(n * Math.ceil(k * bits / 8));
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 13;
  const table = Float32Array.from({ length: 1 << bits }, (_, i) => i - (1 << (bits - 1)));
  const scales = numbers(t.gridRows * t.gridColumns).map((v) => Math.abs(v) + 0.1);
  return { tiling: t, bits, bytes, table, scales };
}

/** Our products of one shape. */
function ours(k: Kernels, [m, n, columns]: [number, number, number], data: Float32Array) {
  const x = k.upload(data);
  const y = k.alloc("f32", m * n);
  const weights: LinearWeight[] = [];
  const keep = (weight: LinearWeight) => (weights.push(weight), weight);
  const contenders: Contender[] = [32, 128].map((group) => {
    const weight = keep(k.integerWeight(weightArguments(n, columns, 4, group)));
    return { name: `int8 g${group}`, run: () => k.integerLinear({ x, y, tokens: m, weight }) };
  });
  for (const group of [32, 128]) {
    const weight = keep(k.integerWeight(weightArguments(n, columns, 4, group)));
    const run = () => k.groupedLinear({ x, y, tokens: m, weight });
    contenders.push({ name: `f32 g${group}`, run });
  }
  const exact = keep(k.packedWeight(weightArguments(n, columns, 4, 32)));
  contenders.push({ name: "exact g32", run: () => k.linear({ x, y, tokens: m, weight: exact }) });
  const dense = keep(k.denseWeight(numbers(n * columns), n, columns));
  contenders.push({ name: "dense", run: () => k.linear({ x, y, tokens: m, weight: dense }) });
  const free = () => [x, y, ...weights].forEach((item) => item.free());
  return { contenders, free };
}

/** Seconds of native ggml, by tokens; none where Python has not got it. */
async function nativeSeconds(n: number, k: number): Promise<Record<string, number>> {
  const script = new URL("ggml.py", import.meta.url).pathname;
  const sizes = [n, k, 1, 8, 128].map(String);
  try {
    const { success, stdout } = await new Deno.Command(args.python as string ?? "python3", {
      args: [script, ...sizes],
      stderr: "null",
    }).output();
    if (success) return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
  } catch {
    // no Python
  }
  console.error("native ggml is skipped: Python with llama-cpp-python was not found");
  return {};
}

const PEERS: ProductKind[] = ["f32", "int8", "q4 block 32", "q4 block 128"];

async function compareShape(n: number, k: number): Promise<void> {
  const native = await nativeSeconds(n, k);
  for (const m of [1, 8, 128]) {
    const data = numbers(m * k);
    const own = ours(kernels, [m, n, k], data);
    const seconds = new Map<string, number>();
    for (const kind of PEERS) {
      // one peer at a time: together their copies of the weight would not fit
      const peer = await openProduct(kind, [m, n, k], data);
      const all = [...own.contenders, { name: kind, run: () => peer.run() }];
      for (const [name, time] of await takeTurns(all, turns)) seconds.set(`${kind}, ${name}`, time);
      await peer.free();
    }
    own.free();
    /** The speed of one of ours or of the peer, in the turns with that peer. */
    const speed = (name: string, peer: ProductKind) =>
      2e-9 * m * n * k / seconds.get(`${peer}, ${name}`)!;
    const best = PEERS.reduce((a, b) => speed(a, a) > speed(b, b) ? a : b);
    const row = (name: string, own: string, peer: ProductKind, must?: number, goal?: number) =>
      add(ratioLine({
        case: name,
        shape: `${m}x${n}x${k}`,
        ours: speed(own, peer),
        peer: speed(peer, peer),
        peerName: `${ONNXRUNTIME} ${peer}`,
        must,
        goal,
      }));
    const nativeRow = (name: string, own: string, goal: number) => {
      if (native[m] === undefined) return;
      const peer = 2e-9 * m * n * k / native[m];
      const shape = `${m}x${n}x${k}`;
      const peerName = "native ggml Q4_0 repacked";
      add(ratioLine({ case: name, shape, ours: speed(own, "f32"), peer, peerName, goal }));
    };
    for (const group of [32, 128] as const) {
      const name = `4-bit, int8 activations, g${group}`;
      const own = `int8 g${group}`;
      if (m === 1) {
        row(name, own, "f32", 3);
        row(name, own, `q4 block ${group}`, 45);
        nativeRow(name, own, 0.75);
      } else if (m === 8) {
        row(name, own, best, 1.6);
        nativeRow(name, own, 1);
      } else {
        row(name, own, "int8", 1.5);
        row(name, own, `q4 block ${group}`, 3.5);
        nativeRow(name, own, 0.8);
      }
    }
    if (m === 1) {
      row("4-bit, f32 activations, g32", "f32 g32", "f32", 1.4, 2);
      row("4-bit, f32 activations, g128", "f32 g128", "f32", 1.4, 2);
      row("4-bit, f32 activations, g32, bits of the decoded weight", "exact g32", "f32");
    }
    if (m === 128) row("f32", "dense", "f32", 1.3);
    if (m === 128) await compareTile(speed("dense", "f32"), `${m}x${n}x${k}`);
  }
}

async function compareTile(own: number, shape: string): Promise<void> {
  const [seconds] = (await takeTurns([{ name: "tile", run: multiplyTile }], turns)).values();
  const peer = 1e-9 * TILE_OPERATIONS / seconds;
  const peerName = "multiply-add in a 3x3 tile of WebAssembly";
  add(ratioLine({ case: "f32", shape, ours: own, peer, peerName, goal: 0.9 }));
}

async function compareStream(): Promise<void> {
  const [n, k] = args.quick ? [4096, 4096] : [16384, 8192];
  using weight = kernels.integerWeight(weightArguments(n, k, 4, 128));
  using x = kernels.upload(numbers(k));
  using y = kernels.alloc("f32", n);
  const seconds = await takeTurns([
    { name: "ours", run: () => kernels.integerLinear({ x, y, tokens: 1, weight }) },
    { name: "stream", run: readStream },
  ], turns);
  add(ratioLine({
    case: "bytes of weights a second, 4-bit, int8 activations, g128",
    shape: `1x${n}x${k}`,
    ours: 1e-9 * weight.bytes / seconds.get("ours")!,
    peer: 1e-9 * STREAM_BYTES / seconds.get("stream")!,
    peerName: "reading memory in WebAssembly",
    must: 0.6,
    goal: 0.8,
  }));
}

async function compareThreads(): Promise<void> {
  const [m, n, k] = [128, 2048, 2048];
  const two = await loadKernels({ threads: 2 });
  const contenders = [kernels, two].map((set, i) => {
    const weight = set.integerWeight(weightArguments(n, k, 4, 128));
    const x = set.upload(numbers(m * k));
    const y = set.alloc("f32", m * n);
    const run = () => set.integerLinear({ x, y, tokens: m, weight });
    return { name: String(i + 1), run };
  });
  const seconds = await takeTurns(contenders, { ...turns, clock: clockSeconds });
  const speed = (name: string) => 2e-9 * m * n * k / seconds.get(name)!;
  add(ratioLine({
    case: "two threads, 4-bit, int8 activations, g128",
    shape: `${m}x${n}x${k}`,
    ours: speed("2"),
    peer: speed("1"),
    peerName: "one thread",
    must: 1.7,
    goal: 1.9,
  }));
  two.close();
}

const only = args.only as string | undefined;
const python = args.python as string ?? "python3";
if (only === undefined) {
  for (const [n, k] of shapes) await compareShape(n, k);
  await compareStream();
  await compareThreads();
}
if (args.model && only !== "encode") {
  const packages = args.packages as string | undefined;
  for (const line of await compareLanguage({ model: args.model as string, python, packages })) {
    add(line);
  }
}
if (only !== "language") { for await (const line of castLines(python)) add(line); }
if (only === undefined && !args.quick) {
  await writeReport(lines, await growth(kernels, weightArguments, turns));
}
Deno.exit(0); // the peer's engine would keep the process
