/**
 * Reading checkpoints of bitsandbytes: NF4 and FP4 (with double quantisation or without), whose
 * settings lie beside every weight as JSON in a tensor, and LLM.int8.
 *
 * LLM.int8 multiplies the columns of large inputs in 16 bits, with the same int8 weights: the weights
 * are what is read here, and inputs are not rounded.
 *
 * @module
 */

import { LowbitError, type ResolvedScheme } from "../../spec/mod.ts";
import { parseJson, toPlain } from "../containers/json.ts";
import { decodePlain } from "../containers/plain.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { decodeTable } from "../reference.ts";
import { numberFormat } from "../lookup.ts";
import { readScales } from "../second_level.ts";
import type { Tools } from "./coded.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";
import { allValues, type DialectReader, FoundTensors, rowValues, type Values } from "./packed.ts";

const STATE = /^(.*)\.quant_state\.bitsandbytes__(nf4|fp4)$/;

/** The factor by which bitsandbytes multiplies, as f32: 1/127. */
const ONE_OVER_127 = Math.fround(1 / 127);

/**
 * The packed weights of a checkpoint of bitsandbytes.
 *
 * Errors: `MALFORMED`, `NOT_FOUND`, `UNSUPPORTED`.
 */
export const bitsandbytesTensors: DialectReader = async (directory, _config, _file, tools) => {
  const found = new FoundTensors();
  for (const name of directory.names()) {
    const [, weight, type] = STATE.exec(name) ?? [];
    if (weight) await addBlocks(found, directory, weight, type as "nf4" | "fp4", tools);
    else if (name.endsWith(".SCB")) addRows(found, directory, name.slice(0, -".SCB".length), tools);
  }
  return found;
};

/** The number format of the elements of each type. */
const ELEMENTS = { nf4: "nf4", fp4: "fp4_bnb" };

/** What bitsandbytes stores beside a weight of 4 bits. */
interface State {
  rows: number;
  columns: number;
  block: number;
  nestedBlock: number;
  offset: number;
}

async function addBlocks(
  found: FoundTensors,
  directory: DirectoryTensors,
  name: string,
  type: "nf4" | "fp4",
  tools: Tools,
): Promise<void> {
  const stateName = `${name}.quant_state.bitsandbytes__${type}`;
  const statePart = directory.part(stateName, ["uint8"]);
  const { rows, columns, block, nestedBlock, offset } = await readState(statePart);
  const elements = rows * columns;
  const codes = directory.part(name, ["uint8"]);
  if (codes.bytes !== Math.ceil(elements / 2)) {
    throw new LowbitError("MALFORMED", `has ${codes.bytes} bytes for [${rows},${columns}]`, {
      file: codes.place.source.name,
      field: name,
    });
  }
  const blocks = Math.ceil(elements / block);
  const map = directory.part(`${name}.quant_map`, ["float32"], [16]);
  const absmax = directory.part(`${name}.absmax`, ["float32", "uint8"], [blocks]);
  const nested = absmax.place.type === "uint8";
  const runs = Math.ceil(blocks / nestedBlock);
  const over = nested ? directory.part(`${name}.nested_absmax`, ["float32"], [runs]) : undefined;
  const nestedMap = nested
    ? directory.part(`${name}.nested_quant_map`, ["float32"], [256])
    : undefined;

  const scales = allValues(absmax, nested ? "dynamic8" : "float32");
  const even = columns % block === 0;
  const scheme = blockScheme(ELEMENTS[type], even ? block : common(block, columns), nestedBlock);
  const stored: Values = async (first, last) => {
    const values = await scales(first, last);
    if (!over) return values;
    const parts = { scales: values, over: await allValues(over, "float32")(first, last) };
    const level = { kind: "double", tiles: nestedBlock } as const;
    return readScales(level, { ...parts, offset: Float32Array.of(offset) }).scales;
  };
  found.add({
    name,
    shape: [rows, columns],
    scheme: scheme(nested && even),
    layout: layoutOf("bitsandbytes4"),
    codes,
    others: [statePart, map, absmax, ...(over && nestedMap ? [over, nestedMap] : [])],
    values: even && over
      ? {
        scales,
        over: allValues(over, "float32"),
        offset: () => Promise.resolve(Float32Array.of(offset)),
      }
      : { scales: runsOf(stored, block, common(block, columns), columns) },
    async check() {
      await checkMap(map, ELEMENTS[type]);
      if (nestedMap) await checkMap(nestedMap, "dynamic8");
    },
  }, tools);
}

/** The largest run of elements that lies in one block and in one row. */
function common(a: number, b: number): number {
  return b === 0 ? Math.max(1, a) : common(b, a % b);
}

/** Scales of runs of `run` elements, from those of blocks of the flattened matrix. */
function runsOf(values: Values, block: number, run: number, columns: number): Values {
  return async (first, last) => {
    const scales = await values(first, last);
    const from = first * columns;
    const count = (last - first) * columns / run;
    return Float32Array.from({ length: count }, (_, i) => {
      return scales[Math.floor((from + i * run) / block)];
    });
  };
}

function blockScheme(element: string, group: number, runs: number) {
  return (double: boolean): ResolvedScheme => {
    const base = resolveScheme(double ? "nf4_b64_dq" : "nf4_b64");
    return {
      ...base,
      id: `bitsandbytes_${element}_b${group}${double ? "_dq" : ""}`,
      summary: `${element} of bitsandbytes, read from a checkpoint`,
      element: numberFormat(element),
      granularity: { kind: "group", size: group },
      scale: { ...base.scale, ...(double && { second: { kind: "double", tiles: runs } }) },
    };
  };
}

async function readState(part: TensorPart): Promise<State> {
  const place = { file: part.place.source.name, field: part.place.name };
  const text = new TextDecoder().decode(await part.read());
  const state = toPlain(parseJson(text, place)) as Record<string, unknown>;
  const whole = (value: unknown, most: number): value is number =>
    Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= most;
  const { shape, blocksize, nested_blocksize = 256, nested_offset = 0 } = state ?? {};
  const [rows, columns, ...more] = Array.isArray(shape) ? shape : [];
  const fine = whole(rows, 2 ** 24) && whole(columns, 2 ** 24) && more.length === 0 &&
    whole(blocksize, 2 ** 16) && whole(nested_blocksize, 2 ** 16) &&
    typeof nested_offset === "number";
  if (!fine) throw new LowbitError("MALFORMED", "is not the state of a matrix", place);
  return {
    rows,
    columns,
    block: blocksize,
    nestedBlock: nested_blocksize,
    offset: Math.fround(nested_offset),
  };
}

/** A map of values must be that of the number format by which it is read. */
async function checkMap(part: TensorPart, format: string): Promise<void> {
  const values = decodePlain("float32", await part.read());
  const known = decodeTable(numberFormat(format));
  if (values.every((value, code) => value === known[code])) return;
  throw new LowbitError("UNSUPPORTED", `has values that are not those of ${format}`, {
    file: part.place.source.name,
    field: part.place.name,
  });
}

/** LLM.int8: a row of int8 and its largest magnitude. */
function addRows(
  found: FoundTensors,
  directory: DirectoryTensors,
  module: string,
  tools: Tools,
): void {
  const codes = directory.part(`${module}.weight`, ["int8"]);
  const [rows, columns] = codes.place.shape;
  if (codes.place.shape.length !== 2) {
    throw new LowbitError("MALFORMED", "is not a matrix", {
      file: codes.place.source.name,
      field: codes.place.name,
    });
  }
  const absmax = directory.part(`${module}.SCB`, ["float32"], [rows]);
  const format = directory.has(`${module}.weight_format`)
    ? directory.part(`${module}.weight_format`, ["uint8"])
    : undefined;
  const values = rowValues(absmax, "float32");
  found.add({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: resolveScheme("int8_channel_sym"),
    layout: layoutOf("bytes"),
    codes,
    others: [absmax, ...(format ? [format] : [])],
    values: {
      scales: async (first, last) => (await values(first, last)).map((a) => a * ONE_OVER_127),
    },
    async check() {
      const [kind] = format ? await format.read() : [0];
      if (kind === 0) return;
      throw new LowbitError("UNSUPPORTED", `is in the order ${kind} of a kernel, not by rows`, {
        file: codes.place.source.name,
        field: codes.place.name,
      });
    },
  }, tools);
}
