/**
 * Reading AWQ checkpoints (versions gemm, gemv and gemv_fast): `X.qweight`, `X.qzeros` and `X.scales`, as
 * AutoAWQ, llm-awq and `transformers` write them.
 *
 * @module
 */

import { LowbitError, type ResolvedScheme } from "../../spec/mod.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { packedBytes } from "../pack.ts";
import { unpackScales } from "../pack_scales.ts";
import type { Tools } from "./coded.ts";
import type { DirectoryTensors } from "./directory.ts";
import { marlinTensors } from "./marlin.ts";
import {
  type DialectReader,
  FoundTensors,
  integerScheme,
  laidOutValues,
  packedValues,
  rowValues,
  unsupportedSetting,
  type Values,
  wholeSetting,
} from "./packed.ts";

const BITS = 4;

/** How the two versions lie. */
type Version = "gemm" | "gemv";

/**
 * The packed weights of an AWQ checkpoint.
 *
 * Errors: `UNSUPPORTED` (other versions, other bits, no zero points), `MALFORMED`, `NOT_FOUND`.
 */
export const awqTensors: DialectReader = (directory, config, file, tools) => {
  const version = String(config.version ?? config.format ?? "gemm").toLowerCase();
  if (version === "marlin") return marlinTensors(directory, config, file, tools);
  if (version !== "gemm" && version !== "gemv" && version !== "gemv_fast") {
    const advice = "versions gemm, gemv, gemv_fast and marlin can";
    throw unsupportedSetting("version", version, file, advice);
  }
  if (config.bits !== BITS) {
    throw unsupportedSetting("bits", config.bits, file, "weights of 4 bits can");
  }
  if (config.zero_point === false) {
    throw unsupportedSetting("zero_point", false, file, "weights with zero points can");
  }
  const group = config.group_size === -1
    ? Infinity
    : wholeSetting(config, "group_size", file, [1, 2 ** 20]);
  const found = new FoundTensors();
  for (const name of directory.names().filter((name) => name.endsWith(".qweight"))) {
    const module = name.slice(0, -".qweight".length);
    if (version === "gemv_fast") addFast(found, directory, module, group, tools);
    else addWeight(found, directory, module, { version, group }, tools);
  }
  return Promise.resolve(found);
};

function addWeight(
  found: FoundTensors,
  directory: DirectoryTensors,
  module: string,
  { version, group: size }: { version: Version; group: number },
  tools: Tools,
): void {
  const codes = directory.part(`${module}.qweight`, ["int32"]);
  const [first, second] = codes.place.shape;
  const words = 32 / BITS;
  const [rows, columns] = version === "gemm" ? [second * words, first] : [first, second * words];
  const group = Math.min(size, columns);
  const groups = Math.ceil(columns / group);
  const fail = (problem: string): never => {
    throw new LowbitError("MALFORMED", problem, {
      file: codes.place.source.name,
      field: codes.place.name,
    });
  };
  if (codes.place.shape.length !== 2) fail("is not a matrix");
  const grid = { rows, columns: groups };
  const types = ["float16", "bfloat16", "float32"] as const;
  if (version === "gemm") {
    const scales = directory.part(`${module}.scales`, types, [groups, rows]);
    const zeros = directory.part(`${module}.qzeros`, ["int32"], [groups, rows / words]);
    const { type } = scales.place;
    found.add({
      name: `${module}.weight`,
      shape: [rows, columns],
      scheme: schemeOf(group, type),
      layout: layoutOf("awq_gemm"),
      codes,
      others: [scales, zeros],
      values: {
        scales: laidOutValues(scales, type, grid, layoutOf("group_major")),
        zeros: packedValues(zeros, { ...grid, bits: BITS }, layoutOf("awq_gemm"), tools),
      },
    }, tools);
    return;
  }
  // Rows of scales and of zero points are padded for the kernel.
  const zeroLayout = layoutOf(
    group >= 128 ? "awq_gemv" : group === 64 ? "awq_gemv_zeros_g64" : "awq_gemv_zeros_g32",
  );
  const size4 = { ...grid, bits: BITS };
  const padded = packedBytes({ ...size4, rows: 1 }, zeroLayout) / 4;
  const scales = directory.part(`${module}.scales`, types, [rows, padded * words]);
  const zeros = directory.part(`${module}.qzeros`, ["int32"], [rows, padded]);
  const { type } = scales.place;
  const wide = rowValues(scales, type);
  found.add({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: schemeOf(group, type),
    layout: layoutOf("awq_gemv"),
    codes,
    others: [scales, zeros],
    values: {
      async scales(from, to) {
        const all = await wide(from, to);
        return Float32Array.from({ length: (to - from) * groups }, (_, i) => {
          return all[Math.floor(i / groups) * padded * words + i % groups];
        });
      },
      zeros: packedValues(zeros, size4, zeroLayout, tools),
    },
  }, tools);
}

/**
 * Version gemv_fast: codes of 4 rows in words of 16 bits, and the products of scales and zero points
 * in place of zero points, group after group, with room for the kernel behind them.
 */
function addFast(
  found: FoundTensors,
  directory: DirectoryTensors,
  module: string,
  size: number,
  tools: Tools,
): void {
  const codes = directory.part(`${module}.qweight`, ["int16"]);
  const [quads, columns] = codes.place.shape;
  const rows = 4 * quads;
  const group = Math.min(size, columns);
  const groups = Math.ceil(columns / group);
  const scales = directory.part(`${module}.scales`, ["float16"]);
  const minima = directory.part(`${module}.qzeros`, ["float16"]);
  for (const { place: { shape, source, name } } of [scales, minima]) {
    if (shape.length === 2 && shape[0] >= groups && shape[1] === rows) continue;
    throw new LowbitError("MALFORMED", `has the shape [${shape}]`, {
      file: source.name,
      field: name,
    });
  }
  const values = (part: typeof scales): Values => async (first, last) => {
    const grid = { rows, columns: groups };
    const all = unpackScales("float16", await part.read(0, groups), grid, layoutOf("group_major"));
    return all.subarray(first * groups, last * groups);
  };
  found.add({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: resolveScheme({
      id: `awq_fast_int4_g${group}`,
      summary: "int4 with minima of AWQ gemv_fast, read from a checkpoint",
      element: "uint4",
      granularity: { kind: "group", size: group },
      scale: {
        rule: "minmax",
        format: "float16",
        codes_from: "stored",
        apply: "divide",
        all_zero: 1,
      },
      zero_point: { kind: "minimum" },
      tail: "short",
      source: "AWQ, arXiv 2306.00978",
    }),
    layout: layoutOf("awq_gemv_fast"),
    codes,
    others: [scales, minima],
    values: { scales: values(scales), zeros: values(minima) },
  }, tools);
}

function schemeOf(group: number, format: string): ResolvedScheme {
  return integerScheme({
    dialect: "awq",
    bits: BITS,
    symmetric: false,
    granularity: { kind: "group", size: group },
    format,
    source: "AWQ, arXiv 2306.00978",
  });
}
