/**
 * Speed of casts against other implementations, one thread, in one run:
 * `deno run -A bench/encode.ts [--python PROGRAM] [--json] [--out FILE.md]`.
 *
 * Rounds of ours and theirs take turns on the same numbers; CPU time of each process, medians. A case
 * is a whole cast: for schemes ranges, scales and codes, without packing. `python` needs the packages
 * of bench/peers/requirements.txt.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { createWorkbench, VERSION, type Workbench } from "../mod.ts";
import { median, processorSeconds } from "./measure.ts";
import { type Line, missingLine, ratioLine, report } from "./report.ts";
import { numberFormats, resolveScheme } from "../formats/lookup.ts";
import { elementEncoder } from "../formats/steps.ts";

const COUNT = 1 << 22;
const ROUNDS = 9;
/** Ours and theirs: native ggml is to be come near to, the others must be beaten. */
const CASES = [
  ["float8_e4m3fn", "ml_dtypes"],
  ["float8_e5m2", "ml_dtypes"],
  ["float4_e2m1fn", "ml_dtypes"],
  ["float6_e2m3fn", "ml_dtypes"],
  ["mxfp4", "torchao"],
  ["mxfp8_e4m3", "torchao"],
  ["int4_g32_sym", "torchao"],
  ["nf4_b64", "bitsandbytes"],
  ["q4_0", "gguf"],
  ["q8_0", "gguf"],
  ["mxfp4", "gguf"],
  ["q4_0", "ggml"],
  ["q8_0", "ggml"],
  ["q4_k", "ggml"],
  ["mxfp4", "ggml"],
] as const;

const PACKAGES: Record<string, string> = { ggml: "llama_cpp_python" };
const values = Float32Array.from({ length: COUNT }, (_, i) => 0.05 * Math.sin(i * 1.7) ** 3);
const [rows, columns] = [COUNT / 1024, 1024];

/** A cast of all numbers; its codes are freed. */
function cast({ kernels, codecs }: Workbench, id: string): () => void {
  const x = kernels.upload(values);
  if (numberFormats.has(id)) {
    const encoder = elementEncoder(numberFormats.get(id));
    const tiling = { rows: 1, columns: COUNT, tileRows: 1, tileColumns: COUNT };
    const grid = { ...tiling, gridRows: 1, gridColumns: 1 };
    return () => {
      using codes = kernels.alloc("u8", COUNT);
      kernels.encode({ x, codes, tiling: grid, apply: "divide", encoder });
    };
  }
  const codec = codecs.get(resolveScheme(id));
  return () => {
    const tiling = codec.tiling(rows, columns);
    using codes = codec.encode(x, tiling, codec.parameters(x, tiling));
    void codes;
  };
}

function cpuSeconds(work: () => void): number {
  const before = processorSeconds();
  work();
  return processorSeconds() - before;
}

/** The process of the peers, one line in and one line out; nothing if it does not start. */
async function startPeers(python: string) {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(python, {
      args: [new URL("peers/casts.py", import.meta.url).pathname],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
  } catch {
    return undefined;
  }
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  const answer = async () => {
    while (!pending.includes("\n")) {
      const { value, done } = await output.read();
      if (done) return undefined;
      pending += value;
    }
    const [line, ...rest] = pending.split("\n");
    pending = rest.join("\n");
    return line;
  };
  const first = await answer();
  if (first === undefined) return undefined;
  return {
    versions: JSON.parse(first) as Record<string, string>,
    async seconds(name: string): Promise<number> {
      await input.write(new TextEncoder().encode(`${name} ${COUNT}\n`));
      return Number(await answer());
    },
    async close() {
      await input.close();
      await child.status;
    },
  };
}

/** A line a case; those of peers that are not there say so. */
export async function* castLines(python: string): AsyncGenerator<Line> {
  using lowbit = await createWorkbench({ threads: 1 });
  const peers = await startPeers(python);
  for (const [id, name] of CASES) {
    const ours = cast(lowbit, id);
    const [mine, theirs]: [number[], number[]] = [[], []];
    for (let round = 0; round <= ROUNDS; round++) {
      const own = cpuSeconds(ours);
      const other = await peers?.seconds(`${id}/${name}`);
      if (round === 0) continue; // warms up
      mine.push(own);
      if (other !== undefined) theirs.push(other);
    }
    const rate = (seconds: number[]) => COUNT * 4 / 1e6 / median(seconds);
    const version = peers?.versions[PACKAGES[name] ?? name];
    const line = {
      case: `encode ${id}, MB/s of f32`,
      shape: `${rows}x${columns}`,
      ours: rate(mine),
      peerName: PACKAGES[name]
        ? `native ${name} of ${PACKAGES[name]} ${version}`
        : `${name} ${version}`,
      ...PACKAGES[name] ? { goal: 0.8 } : { must: 1 },
    };
    yield theirs.length > 0
      ? ratioLine({ ...line, peer: rate(theirs) })
      : missingLine({ ...line, peerName: name });
  }
  await peers?.close();
}

async function main() {
  const args = parseArgs(Deno.args, { boolean: ["json"], string: ["python", "out"] });
  const lines: Line[] = [];
  for await (const line of castLines(String(args.python ?? "python3"))) {
    lines.push(line);
    report(line, args.json as boolean);
  }
  const missed = lines.filter(({ pass }) => pass === false).length;
  if (missed > 0) console.error(`${missed} cases fall short`);
  if (!args.out) return;
  const table = lines.map((l) =>
    `| ${l.case} | ${l.ours} | ${l.peer ?? ""} | ${l.peerName} | ${l.ratio ?? ""} | ` +
    `${l.must ?? ""} | ${l.goal ?? ""} | ${l.pass === null ? "" : l.pass ? "yes" : "no"} |`
  );
  const page = [
    "# Speed of casts",
    "",
    `Generated by \`deno task bench:encode --out\` with lowbit ${VERSION}: MB of f32 a CPU second, one ` +
    "thread, medians of rounds that take turns. Schemes count ranges, scales and codes.",
    "",
    "| format | ours | peer | which | ratio | must | goal | met |",
    "|---|---|---|---|---|---|---|---|",
    ...table,
    "",
  ];
  await Deno.writeTextFile(String(args.out), page.join("\n"));
}

if (import.meta.main) await main();
