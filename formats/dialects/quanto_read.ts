/**
 * Reading checkpoints of optimum-quanto: with a code a byte, `X.weight._data` (int8, or FP8 E4M3) and
 * `X.weight._scale`; of 2 and 4 bits, `X.weight._data._data` with `_scale` and `_shift`.
 *
 * Packed weights do not say their shape: by channel a row of codes is a row of the weight; by group it
 * is a group, and how many make a row follows from the settings of the model.
 *
 * @module
 */

import { LowbitError, type ResolvedScheme } from "../../spec/mod.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import type { Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import { moduleName } from "./module_name.ts";
import { type DialectReader, FoundTensors, rowValues, type Values } from "./packed.ts";

const FLOATS = ["float32", "float16", "bfloat16"] as const;

/** The groups that quanto makes, where a row is longer. */
const GROUPS: readonly number[] = [128, 96, 64, 32];

/** The packed weights of a quanto checkpoint. Errors: `UNSUPPORTED`, `MALFORMED`, `NOT_FOUND`. */
export const quantoTensors: DialectReader = (directory, _settings, _file, tools, model = {}) => {
  const found = new FoundTensors();
  for (const data of directory.names().filter((name) => name.endsWith("._data"))) {
    const name = data.replace(/(\._data)+$/, "");
    if (data.endsWith("._data._data")) addPacked(found, directory, name, model, tools);
    else addBytes(found, directory, name, tools);
  }
  return Promise.resolve(found);
};

/** Scales of inputs and outputs, which are not used where activations stay as they are. */
function unused(directory: DirectoryTensors, name: string): TensorPart[] {
  const module = moduleName(name);
  return ["input_scale", "output_scale"].filter((part) => directory.has(`${module}.${part}`))
    .map((part) => directory.part(`${module}.${part}`, FLOATS, []));
}

function addBytes(
  found: FoundTensors,
  directory: DirectoryTensors,
  name: string,
  tools: Tools,
): void {
  const codes = directory.part(`${name}._data`, ["int8", "float8_e4m3fn"]);
  const [rows, columns] = codes.place.shape;
  const scales = directory.part(`${name}._scale`, FLOATS, [rows, 1]);
  if (codes.place.shape.length !== 2) {
    throw new LowbitError("MALFORMED", "is not a matrix", {
      file: codes.place.source.name,
      field: codes.place.name,
    });
  }
  const base = resolveScheme(codes.place.type === "int8" ? "int8_channel_sym" : "fp8_channel");
  const { type } = scales.place;
  found.add({
    name,
    shape: [rows, columns],
    scheme: { ...base, scale: { ...base.scale, format: type } },
    layout: layoutOf("bytes"),
    codes,
    others: [scales, ...unused(directory, name)],
    values: { scales: rowValues(scales, type) },
  }, tools);
}

function addPacked(
  found: FoundTensors,
  directory: DirectoryTensors,
  name: string,
  model: Readonly<Record<string, unknown>>,
  tools: Tools,
): void {
  const codes = directory.part(`${name}._data._data`, ["uint8"]);
  const scales = directory.part(`${name}._scale`, FLOATS);
  const shift = directory.part(`${name}._shift`, [...FLOATS, "int8", "uint8"], scales.place.shape);
  const [packedRows, group] = codes.place.shape;
  const [groups, one] = scales.place.shape;
  const fail = (code: "MALFORMED" | "UNSUPPORTED", problem: string, advice?: string): never => {
    throw new LowbitError(code, problem, {
      file: codes.place.source.name,
      field: codes.place.name,
      advice,
    });
  };
  const bits = [2, 4].find((bits) => packedRows === Math.ceil(groups * bits / 8));
  if (codes.place.shape.length !== 2 || one !== 1 || bits === undefined || group < 1) {
    return fail("MALFORMED", `is [${codes.place.shape}] with scales [${scales.place.shape}]`);
  }
  const columns = inputsOf(name, model) ?? (GROUPS.includes(group) ? undefined : group);
  if (columns === undefined) {
    return fail(
      "UNSUPPORTED",
      `has rows of ${group}, and nothing says how many make a row of the weight`,
      "put the config.json of the model beside it, or open the checkpoint in full precision",
    );
  }
  const perRow = columns / group;
  if (!Number.isInteger(perRow) || groups % perRow !== 0) {
    return fail("MALFORMED", `has ${groups} groups of ${group}, for rows of ${columns}`);
  }
  const { type } = shift.place;
  const real = (FLOATS as readonly string[]).includes(type);
  const byGroups = (read: Values): Values => (first, last) => read(first * perRow, last * perRow);
  const shifts = byGroups(rowValues(shift, type));
  found.add({
    name,
    shape: [groups / perRow, columns],
    scheme: packedScheme(bits, perRow === 1 ? undefined : group, scales.place.type, real),
    layout: layoutOf(`quanto${bits}`),
    packed: { rows: groups, columns: group },
    codes,
    others: [scales, shift, ...unused(directory, name)],
    values: {
      scales: byGroups(rowValues(scales, scales.place.type)),
      zeros: async (first, last) => {
        const values = await shifts(first, last);
        return real ? values.map((value) => -value) : values;
      },
    },
  }, tools);
}

/** How many inputs a linear has, by the settings of the families that share these names. */
function inputsOf(
  weight: string,
  { hidden_size: hidden, intermediate_size: inner, num_attention_heads: heads, head_dim }: Readonly<
    Record<string, unknown>
  >,
): number | undefined {
  const [module] = weight.split(".").slice(-2);
  const whole = (value: unknown) =>
    Number.isSafeInteger(value) && (value as number) > 0 ? value as number : undefined;
  if (/^(q_proj|k_proj|v_proj|gate_proj|up_proj|lm_head)$/.test(module)) return whole(hidden);
  if (module === "down_proj") return whole(inner);
  if (module === "o_proj" && whole(heads)) {
    const width = whole(head_dim);
    return width ? width * whole(heads)! : whole(hidden);
  }
}

function packedScheme(
  bits: number,
  group: number | undefined,
  format: string,
  real: boolean,
): ResolvedScheme {
  return resolveScheme({
    id: `quanto_int${bits}_${group === undefined ? "channel" : `g${group}`}`,
    summary: `quanto int${bits}, read from a checkpoint`,
    element: `uint${bits}`,
    granularity: group === undefined ? { kind: "channel" } : { kind: "group", size: group },
    scale: { rule: "minmax", format, codes_from: "stored", apply: "divide", all_zero: 1 },
    zero_point: { kind: real ? "minimum" : "int" },
    tail: "short",
    source: "optimum-quanto 0.2.7",
  });
}
