/**
 * Random bit patterns through the WASM kernels and the normative reference, for every number format;
 * writes docs/generated/conformance.md. `deno task conformance:random [CASES]`
 *
 * @module
 */

import { createCodecs } from "../../formats/codec.ts";
import { runEntry } from "../../formats/conformance/ours.ts";
import { openVectors } from "../../formats/conformance/vectors.ts";
import { numberFormats } from "../../formats/lookup.ts";
import { decodeTable, encodeElement, encodeNan, largestFinite } from "../../formats/reference.ts";
import { elementEncoder } from "../../formats/steps.ts";
import { loadKernels } from "../../kernels-wasm/mod.ts";
import type { Kernels, NumberFormat, VectorEntry } from "../../spec/mod.ts";

/** How many numbers are compared at a time. */
const CHUNK = 1 << 14;

/** What a run of random numbers found. */
export interface RandomReport {
  /** The number format. */
  id: string;
  /** Numbers compared. */
  cases: number;
  /** Numbers with another code, or a code with another value. */
  failed: number;
  /** The first of them. */
  first?: string;
}

/**
 * Compares kernels with the reference, element by element, on `cases` random f32 bit patterns and a
 * quarter as many numbers in the range of the format. Formats of 16 bits that no kernel encodes are
 * undefined.
 */
export function compareRandom(
  kernels: Kernels,
  format: NumberFormat,
  cases: number,
): RandomReport | undefined {
  const run = format.bits <= 8 ? castBy(kernels, format) : narrowBy(kernels, format);
  if (!run) return undefined;
  const report: RandomReport = { id: format.id, cases: 0, failed: 0 };
  const next = randomBits(format.id);
  // A narrowed NaN keeps its payload, where a cast gives the canonical one.
  const refused = format.cast.nan === "refuse" || format.bits > 8;
  const top = largestFinite(format) * 1.25;
  const bits = new Uint32Array(CHUNK);
  const numbers = new Float32Array(bits.buffer);
  while (report.cases < cases * 1.25) {
    for (let i = 0; i < CHUNK; i++) {
      if (report.cases >= cases) numbers[i] = (next() / 2 ** 31 - 1) * top;
      else {
        let pattern = next();
        while (refused && isNan(pattern)) pattern = next();
        bits[i] = pattern;
      }
    }
    const { codes, values } = run(numbers);
    for (let i = 0; i < CHUNK; i++) {
      const wanted = isNan(bits[i])
        ? encodeNan(format, format.cast, bits[i] >= 2 ** 31)
        : encodeElement(format, numbers[i]);
      if (codes[i] === wanted && Object.is(values[i], decoded(format, wanted))) continue;
      report.failed++;
      report.first ??= `0x${bits[i].toString(16)} became ${codes[i]} (${values[i]}), not ${wanted}`;
    }
    report.cases += CHUNK;
  }
  return report;
}

type Run = (x: Float32Array) => { codes: ArrayLike<number>; values: Float32Array };

const isNan = (bits: number) => (bits & 0x7fffffff) > 0x7f800000;

/** Values of codes; kept, for they are asked for with every number. */
const tables = new Map<string, Float32Array>();

function decoded(format: NumberFormat, code: number): number {
  let table = tables.get(format.id);
  if (!table) tables.set(format.id, table = decodeTable(format));
  return table[code];
}

function castBy(kernels: Kernels, format: NumberFormat): Run {
  const encoder = elementEncoder(format);
  const table = decodeTable(format);
  return (numbers) => {
    const columns = numbers.length;
    const tiling = { rows: 1, columns, tileRows: 1, tileColumns: columns, gridRows: 1 };
    using x = kernels.upload(numbers);
    using values = kernels.upload(table);
    using codes = kernels.alloc("u8", columns);
    using y = kernels.alloc("f32", columns);
    kernels.encode({ x, codes, tiling: { ...tiling, gridColumns: 1 }, apply: "divide", encoder });
    kernels.decode({ codes, y, tiling: { ...tiling, gridColumns: 1 }, table: values });
    return { codes: codes.array.slice(), values: y.array.slice() };
  };
}

function narrowBy(kernels: Kernels, { id }: NumberFormat): Run | undefined {
  if (id !== "float16" && id !== "bfloat16") return undefined;
  return (numbers) => {
    using x = kernels.upload(numbers);
    using bytes = kernels.alloc("u8", numbers.length * 2);
    using y = kernels.alloc("f32", numbers.length);
    kernels.narrow({ x, bytes, to: id });
    kernels.widen({ bytes, y, from: id });
    return { codes: new Uint16Array(bytes.array.slice().buffer), values: y.array.slice() };
  };
}

/** Uniform 32-bit patterns, the same ones for the same name (sfc32). */
function randomBits(name: string): () => number {
  let [a, b, c, d] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1];
  for (const letter of name) a = Math.imul(a ^ letter.charCodeAt(0), 0x01000193);
  const next = () => {
    const sum = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
}

/** The report as Markdown: what the vectors are, what holds, and the random numbers. */
async function document(cases: number): Promise<string> {
  const { manifest, ...vectors } = await openVectors(new URL("../../conformance", here).pathname);
  const kernels = await loadKernels();
  const engine = { kernels, codecs: createCodecs(kernels), reference: false };
  const rows: string[] = [];
  for (const entry of manifest.entries) {
    const report = await runEntry({ manifest, ...vectors }, entry, engine);
    const held = report.skipped ? `not held: ${report.skipped}` : verdict(report.failed, entry);
    rows.push(row(entry.kind, entry.name, report.oracle, count(entry.cases), held));
  }
  const random = numberFormats.ids().map((id) => {
    const report = compareRandom(kernels, numberFormats.get(id), cases);
    if (!report) return row(id, "-", "no kernel encodes it");
    console.error(`${id}: ${report.cases} numbers, ${report.failed} differ`);
    return row(id, count(report.cases), report.failed ? report.first! : "equal");
  });
  const total = manifest.entries.reduce((sum, entry) => sum + entry.cases, 0);
  return `# Conformance

Generated by \`deno task conformance:random\`. \`conformance/README.md\` says what the vectors are.

## Random numbers

Codes and values of the WebAssembly kernels against the normative reference, element by element: so
many random f32 bit patterns, and a quarter as many numbers in the range of the format. NaNs are among them where a cast takes them.

${row("number format", "numbers compared", "codes and values")}
${row("---", "---:", "---")}
${random.join("\n")}

## Vectors of other implementations

${manifest.entries.length} entries, ${count(total)} inputs.

${row("kind", "entry", "oracle", "inputs", "WebAssembly and reference")}
${row("---", "---", "---", "---:", "---")}
${rows.join("\n")}
`;
}

function verdict(failed: number, { hold }: VectorEntry): string {
  if (failed > 0) return `FAILED: ${failed}`;
  if (hold === "exact") return "exact";
  const bounds = Object.entries(hold).flatMap(([role, bound]) =>
    bound === "exact" ? [] : [`${role} within a bound (${bound.reason})`]
  );
  return bounds.length > 0 ? bounds.join("; ") : "exact";
}

const row = (...cells: (string | number)[]) => `| ${cells.join(" | ")} |`;
const count = (n: number) => n.toLocaleString("en-US");
const here = import.meta.url;

if (import.meta.main) {
  const text = await document(Number(Deno.args[0] ?? 10_000_000));
  await Deno.writeTextFile(new URL("../../docs/generated/conformance.md", here), text);
}
