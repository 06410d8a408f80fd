/**
 * A fuzzer of the readers: `deno task fuzz [--mutations 200000] [--only READER] [--seed 1]`.
 *
 * Each reader runs in a process of its own on mutations of small valid files. A failure that is no
 * `LowbitError`, a mutation that takes over 2 seconds, and a process that grows by more than 256 MiB
 * end it with the mutation that did it. Writes docs/generated/fuzz-readers.md.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { VERSION } from "../engine/version.ts";
import { type Files, outcome } from "./hostile/readers.ts";
import { type Seed, seeds } from "./hostile/seeds.ts";

const MAX_MS = 2000;
const MAX_GROWTH = 256 * 2 ** 20;
const REPORT = "docs/generated/fuzz-readers.md";

/** What a reader did. */
interface Line {
  reader: string;
  mutations: number;
  read: number;
  refused: Record<string, number>;
  messages: number;
  slowest_ms: number;
  growth: number;
}

/** Numbers below a limit from a seed. */
function sequence(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % Math.max(1, below);
  };
}

const NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff];
const PIECES = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "0",
  "-1",
  "1e999",
  "null",
  "../",
  "\\u0000",
  "\n",
]
  .concat(["__proto__", "9007199254740993", "99999999999999999999", "- ", "&a ", "*a", "!!x "]);

/** Changes a file in one to four ways. */
function mutate(bytes: Uint8Array, next: (below: number) => number): Uint8Array {
  let out = bytes.slice();
  const splice = (at: number, remove: number, insert: Uint8Array) => {
    const made = new Uint8Array(out.length - remove + insert.length);
    made.set(out.subarray(0, at));
    made.set(insert, at);
    made.set(out.subarray(at + remove), at + insert.length);
    out = made;
  };
  for (let n = next(4); n >= 0; n--) {
    // Mostly where headers are.
    const reach = next(4) === 0 ? out.length : Math.min(out.length, 1024);
    const at = next(reach);
    switch (next(8)) {
      case 0:
        if (out.length) out[at] ^= 1 << next(8);
        break;
      case 1:
        if (out.length) out[at] = next(256);
        break;
      case 2:
        out = out.slice(0, next(4) ? Math.max(at, out.length - next(64)) : at);
        break;
      case 3: {
        const view = new DataView(out.buffer);
        const size = 1 << next(4);
        if (at + size > out.length) break;
        const value = NUMBERS[next(NUMBERS.length)];
        if (size === 8) view.setBigUint64(at, BigInt(value) << BigInt(next(2) * 32), true);
        else for (let i = 0; i < size; i++) out[at + i] = value >>> (8 * i);
        break;
      }
      case 4:
        splice(at, Math.min(next(8), out.length - at), new Uint8Array(0));
        break;
      case 5:
        splice(at, 0, out.slice(at, at + next(64)));
        break;
      case 6:
        splice(
          at,
          next(2) * Math.min(4, out.length - at),
          new TextEncoder().encode(
            PIECES[next(PIECES.length)],
          ),
        );
        break;
      default: {
        const from = next(out.length);
        const length = Math.min(1 + next(32), out.length - from, out.length - at);
        out.copyWithin(at, from, from + length);
      }
    }
  }
  return out;
}

/** Memory of the process at its highest, and now. */
function memory(): { peak: number; now: number } {
  const status = Deno.readTextFileSync("/proc/self/status");
  const of = (name: string) => 1024 * Number(new RegExp(`${name}:\\s*(\\d+)`).exec(status)?.[1]);
  return { peak: of("VmHWM"), now: of("VmRSS") };
}

async function fuzz(reader: string, mutations: number, seed: number): Promise<Line> {
  const next = sequence(seed * 7919 + reader.length);
  const all: Seed[] = seeds()[reader];
  for (const { files } of all) await outcome(reader, files);
  const line: Line = {
    ...{ reader, mutations, read: 0, refused: {}, messages: 0, slowest_ms: 0, growth: 0 },
  };
  const messages = new Set<string>();
  const start = memory().now;
  for (let i = 0; i < mutations; i++) {
    const { files, change } = all[next(all.length)];
    const target = change[next(change.length)];
    const changed: Files = new Map([...files].map(([name, bytes]) => [
      name,
      name === target ? mutate(bytes, next) : bytes,
    ]));
    const fail = async (problem: string): Promise<never> => {
      const path = await Deno.makeTempFile({ prefix: `lowbit-${reader}-` });
      await Deno.writeFile(path, changed.get(target)!);
      throw new Error(`${reader}, mutation ${i} of ${target}: ${problem}; kept as ${path}`);
    };
    const before = performance.now();
    let result = "";
    try {
      result = await outcome(reader, changed);
    } catch (error) {
      await fail((error as Error).stack ?? String(error));
    }
    const took = performance.now() - before;
    // A process that was not running for a while is no hang: it is asked again.
    if (took > MAX_MS) {
      const again = performance.now();
      await outcome(reader, changed);
      if (performance.now() - again > MAX_MS) await fail(`took ${took.toFixed(0)} ms`);
    }
    line.slowest_ms = Math.max(line.slowest_ms, took);
    const code = /^error\[(\w+)\]/.exec(result)?.[1];
    if (code) {
      line.refused[code] = (line.refused[code] ?? 0) + 1;
      if (messages.size < 100_000) {
        messages.add(result.replace(/\d+|"[^"]*"|\[[^\]]*\]/g, "*").slice(0, 160));
      }
    } else line.read++;
    if (i % 1000 === 999) {
      // What is left of earlier mutations is garbage, some of it outside the heap.
      (globalThis as { gc?: () => void }).gc?.();
      line.growth = Math.max(line.growth, memory().peak - start);
      if (line.growth > MAX_GROWTH) await fail(`grew by ${line.growth} bytes`);
    }
  }
  line.messages = messages.size;
  return line;
}

/** Which code ran: the version, and the last commit where there is git. */
function code(): string {
  try {
    const args = ["log", "-1", "--format=%h of %cs"];
    const { stdout } = new Deno.Command("git", { args }).outputSync();
    return `lowbit ${VERSION}, commit ${new TextDecoder().decode(stdout).trim()}`;
  } catch {
    return `lowbit ${VERSION}, ${new Date().toISOString().slice(0, 10)}`;
  }
}

function report(lines: readonly Line[], seed: number): string {
  const rows = lines.map((line) => {
    const refused = Object.entries(line.refused).sort(([a], [b]) => a < b ? -1 : 1)
      .map(([code, count]) => `${code} ${count}`).join(", ");
    return `| ${line.reader} | ${line.mutations} | ${line.read} | ${refused} | ${line.messages} | ` +
      `${line.slowest_ms.toFixed(0)} | ${(line.growth / 2 ** 20).toFixed(0)} |`;
  });
  return [
    "# Readers against damaged files",
    "",
    `Generated by \`deno task fuzz\` with seed ${seed}, all readers in one run (${code()};`,
    `${Deno.build.os} ${Deno.build.arch}, Deno ${Deno.version.deno}). Each reader reads mutations of`,
    "small valid files, of other programs but for receipts, and all tensors in them. None crashed, took",
    "over 2 s, or made its process grow by more than 256 MiB over what it had after reading the valid",
    "files.",
    "",
    "| reader | mutations | read | refused | kinds of message | slowest, ms | growth, MiB |",
    "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ...rows,
    "",
  ].join("\n");
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["mutations", "only", "seed", "one"] });
  const mutations = Number(args.mutations ?? 200_000);
  const seed = Number(args.seed ?? 1);
  if (typeof args.one === "string") {
    console.log(JSON.stringify(await fuzz(args.one, mutations, seed)));
  } else {
    const lines: Line[] = [];
    for (const reader of Object.keys(seeds())) {
      if (typeof args.only === "string" && args.only !== reader) continue;
      const command = new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "--v8-flags=--expose-gc",
          new URL(import.meta.url).pathname,
          ...["--one", reader, "--mutations", String(mutations), "--seed", String(seed)],
        ],
        stderr: "inherit",
      });
      const { success, stdout } = await command.output();
      if (!success) Deno.exit(1);
      lines.push(JSON.parse(new TextDecoder().decode(stdout)));
      console.error(JSON.stringify(lines.at(-1)));
    }
    if (args.only === undefined) Deno.writeTextFileSync(REPORT, report(lines, seed));
    else console.log(report(lines, seed));
  }
}
