/**
 * Reading HQQ checkpoints: `X.W_q` with `X.scale`, `X.zero` and, as tensors of one number each, the
 * settings of every weight.
 *
 * With axis 1 a group is a run of a row; with axis 0 the weight is laid out as `group` rows, and the
 * elements of a column share a scale.
 *
 * @module
 */

import { LowbitError, type ResolvedScheme } from "../../spec/mod.ts";
import { decodePlain } from "../containers/plain.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import type { Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import { allValues, type DialectReader, FoundTensors, type Values } from "./packed.ts";

/** Settings of a weight that are not needed to read it. */
const IGNORED = [
  "packing",
  "unpack_view_dtype",
  "compute_dtype",
  "offload_meta",
  "encoded_state_dict",
  "stores_quant_config",
  "channel_wise",
  "optimize",
  "round_zero",
];

/** The packed weights of an HQQ checkpoint. Errors: `UNSUPPORTED`, `MALFORMED`, `NOT_FOUND`. */
export const hqqTensors: DialectReader = async (directory, _config, _file, tools) => {
  const found = new FoundTensors();
  for (const name of directory.names().filter((name) => name.endsWith(".W_q"))) {
    await addWeight(found, directory, name.slice(0, -".W_q".length), tools);
  }
  return found;
};

async function addWeight(
  found: FoundTensors,
  directory: DirectoryTensors,
  module: string,
  tools: Tools,
): Promise<void> {
  const types = ["int32", "int64", "uint8"] as const;
  const settings = new Map<string, TensorPart>();
  const setting = async (name: string): Promise<number[]> => {
    const part = directory.part(`${module}.${name}`, types);
    settings.set(name, part);
    return [...decodePlain(part.place.type, await part.read())];
  };
  const codes = directory.part(`${module}.W_q`, ["uint8", "int32"]);
  const fail = (code: "MALFORMED" | "UNSUPPORTED", problem: string): never => {
    throw new LowbitError(code, problem, {
      file: codes.place.source.name,
      field: codes.place.name,
    });
  };
  const [bits] = await setting("nbits");
  const [rows, columns] = await setting("shape");
  const [axis] = await setting("axis");
  const [group] = directory.has(`${module}.group_size`) ? await setting("group_size") : [columns];
  const nested = ["quant_scale", "quant_zero", "view_as_float"];
  for (const name of nested.filter((name) => directory.has(`${module}.${name}`))) {
    if ((await setting(name))[0] !== 0) fail("UNSUPPORTED", `has ${name}, which cannot be read`);
  }
  for (const name of IGNORED.filter((name) => directory.has(`${module}.${name}`))) {
    settings.set(name, directory.part(`${module}.${name}`, types));
  }
  const whole = [rows, columns, group].every((n) =>
    Number.isSafeInteger(n) && n > 0 && n < 2 ** 24
  );
  if (!whole || (axis !== 0 && axis !== 1) || rows * columns % group !== 0) {
    fail("MALFORMED", `has the shape [${rows},${columns}], group ${group}, axis ${axis}`);
  }
  if (![1, 2, 3, 4, 8].includes(bits)) {
    fail("UNSUPPORTED", `weights of ${bits} bits cannot be read`);
  }
  const count = rows * columns / group;
  if (axis === 1 && columns % group !== 0) {
    fail("UNSUPPORTED", `has groups of ${group} that run over ${columns} columns`);
  }
  const shape = axis === 1 ? [count, 1] : [1, count];
  const floats = ["float32", "float16", "bfloat16"] as const;
  const scale = directory.part(`${module}.scale`, floats, shape);
  const zero = directory.part(`${module}.zero`, floats, shape);
  const values = (part: typeof scale): Values => async (first, last) => {
    const all = await allValues(part, part.place.type)(first, last);
    if (axis === 1) return all.subarray(first * columns / group, last * columns / group);
    const [from, to] = [first * columns, last * columns];
    return Float32Array.from({ length: to - from }, (_, i) => all[(from + i) % count]);
  };
  found.add({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: hqqScheme(bits, axis === 1 ? group : 1, scale.place.type),
    layout: layoutOf(`hqq${bits}`),
    packed: axis === 1 ? { rows: count, columns: group } : { rows: group, columns: count },
    codes,
    others: [scale, zero, ...settings.values()],
    values: { scales: values(scale), zeros: values(zero) },
  }, tools);
}

function hqqScheme(bits: number, group: number, format: string): ResolvedScheme {
  return resolveScheme({
    id: `hqq_int${bits}_g${group}`,
    summary: `HQQ int${bits} in groups of ${group}, read from a checkpoint`,
    element: `uint${bits}`,
    granularity: { kind: "group", size: group },
    scale: { rule: "minmax", format, codes_from: "stored", apply: "reciprocal", all_zero: 1 },
    zero_point: { kind: "float" },
    tail: "short",
    source: "HQQ, mobiusml.github.io/hqq_blog",
  });
}
