/**
 * Reading packed weights: what the dialects over safetensors directories share. A dialect says
 * where codes and parameters lie and in which layouts; this reads them.
 *
 * @module
 */

import {
  type Granularity,
  granularityLabel,
  type Layout,
  LowbitError,
  type QuantizedTensor,
  type ResolvedScheme,
  type StoredTensor,
  tiling,
} from "../../spec/mod.ts";
import { decodeScales } from "../containers/scales.ts";
import { resolveScheme } from "../lookup.ts";
import { unpackMatrix } from "../pack.ts";
import { unpackScales } from "../pack_scales.ts";
import { type ParameterPart, parametersFrom } from "../parameter_parts.ts";
import { rowBytes } from "../planes.ts";
import { codedTensor, type Tools } from "./coded.ts";
import { inGroups } from "./column_order.ts";
import type { DirectoryTensors, TensorPart } from "./directory.ts";

/** The values of some rows of the grid of tiles; of parts without rows, all. */
export type Values = (first: number, last: number) => Promise<Float32Array>;

/** Where a packed weight lies. */
export interface PackedPlace {
  /** The name of the weight as the model knows it. */
  name: string;
  /** Its shape, rows being outputs. */
  shape: [rows: number, columns: number];
  /** The shape of the tensor, if it has more dimensions: those before the last make the rows. */
  tensorShape?: number[];
  /** Its scheme. */
  scheme: ResolvedScheme;
  /** The layout of its codes. */
  layout: Layout;
  /** The matrix that is laid out, if the weight is reshaped before: of as many elements. */
  packed?: { rows: number; columns: number };
  /** The codes. */
  codes: TensorPart;
  /** All other tensors that it is made of. */
  others: readonly TensorPart[];
  /**
   * Which column of the weight each column of the matrix of codes is, where columns were put in the
   * order of their groups: of the codes as they are read, not as they are stored.
   */
  order?: Uint32Array;
  /** Its parameters. */
  values: Partial<Record<ParameterPart["name"], Values>>;
  /** Refuses what contradicts the settings, before codes are read. */
  check?(): Promise<void>;
}

/** What a dialect found in a directory. */
export class FoundTensors {
  /** The coded tensors, by the names of the weights. */
  readonly tensors = new Map<string, StoredTensor>();
  /** The name of a weight, by the tensor in whose place it is listed. */
  readonly anchors = new Map<string, string>();
  /** The schemes of the inputs of linears, by the names of their weights. */
  readonly activations = new Map<string, ResolvedScheme>();

  /** Adds a packed weight. */
  add(place: PackedPlace, tools: Tools): void {
    this.tensors.set(place.name, packedTensor(place, tools));
    this.anchors.set(place.codes.place.name, place.name);
  }
}

/** Finds the packed weights of a directory, by its `quantization_config` and all of its config.json. */
export type DialectReader = (
  directory: DirectoryTensors,
  settings: Record<string, unknown>,
  file: string,
  tools: Tools,
  model?: Readonly<Record<string, unknown>>,
) => Promise<FoundTensors>;

/** A packed weight; of some rows it reads only their bytes, where the layout has rows in a row. */
function packedTensor(place: PackedPlace, tools: Tools): StoredTensor {
  const { name, shape: [rows, columns], scheme, layout, codes, others } = place;
  const { bits } = scheme.element;
  const tiles = tiling(scheme.granularity, rows, columns);
  const size = { rows, columns, ...place.packed, bits };
  const width = place.packed ? undefined : rowBytes(size, layout);
  /** Runs of scales that share a scale of scales may begin in another row. */
  const whole = scheme.scale.second?.kind === "double";
  return codedTensor({
    name,
    shape: place.tensorShape ?? [rows, columns],
    scheme,
    layout,
    bytes: others.reduce((sum, part) => sum + part.bytes, codes.bytes),
    file: codes.place.source.name,
    async load(start, end): Promise<QuantizedTensor> {
      await place.check?.();
      const first = Math.floor(start / tiles.tileRows);
      const last = Math.max(first, Math.ceil(end / tiles.tileRows));
      const [from, to] = whole ? [0, tiles.gridRows] : [first, last];
      const values = new Map<string, Float32Array>();
      for (const [part, read] of Object.entries(place.values)) {
        values.set(part, await read(from, to));
      }
      let parameters = parametersFrom(scheme, tiles, values);
      if (whole && (first > 0 || last < tiles.gridRows)) {
        const cut = [first * tiles.gridColumns, last * tiles.gridColumns];
        parameters = { scales: parameters.scales.slice(...cut) };
      }
      const codes = await someCodes(start, end);
      const tensor = { shape: [end - start, columns] as [number, number], scheme, parameters };
      return place.order ? inGroups({ ...tensor, codes }, place.order) : { ...tensor, codes };
    },
  }, tools);

  async function someCodes(start: number, end: number): Promise<Uint8Array> {
    if (width !== undefined) {
      const bytes = await codes.bytesAt(start * width, (end - start) * width);
      return unpackMatrix(tools.kernels, bytes, { rows: end - start, columns, bits }, layout).codes;
    }
    const all = unpackMatrix(tools.kernels, await codes.read(), size, layout);
    return all.codes.slice(start * columns, end * columns);
  }
}

/** Values that are stored row after row of the grid. */
export function rowValues(part: TensorPart, format: string): Values {
  return async (first, last) => decodeScales(format, await part.read(first, last));
}

/** Values of which a tensor has few: all of them. */
export function allValues(part: TensorPart, format: string): Values {
  return async () => decodeScales(format, await part.read());
}

/** Scales in a layout of their own. */
export function laidOutValues(
  part: TensorPart,
  format: string,
  grid: { rows: number; columns: number },
  layout: Layout,
): Values {
  return async (first, last) => {
    const all = unpackScales(format, await part.read(), grid, layout);
    return all.subarray(first * grid.columns, last * grid.columns);
  };
}

/** Zero points that are packed as codes are. */
export function packedValues(
  part: TensorPart,
  size: { rows: number; columns: number; bits: number },
  layout: Layout,
  tools: Tools,
): Values {
  return async (first, last) => {
    const { codes } = unpackMatrix(tools.kernels, await part.read(), size, layout);
    return Float32Array.from(codes.subarray(first * size.columns, last * size.columns));
  };
}

/** The scheme of integers that a dialect stores: what is needed to read them, and to write them again. */
export function integerScheme(
  { dialect, bits, symmetric, granularity, format, source }: {
    dialect: string;
    bits: number;
    symmetric: boolean;
    granularity: Granularity;
    format: string;
    source: string;
  },
): ResolvedScheme {
  const kind = symmetric ? "sym" : "asym";
  return resolveScheme({
    id: `${dialect}_int${bits}_${granularityLabel(granularity)}_${kind}`,
    summary: `int${bits} of ${dialect.replaceAll("_", "-")}, read from a checkpoint`,
    element: symmetric ? `int${bits}` : `uint${bits}`,
    granularity,
    scale: {
      rule: symmetric ? "absmax" : "minmax",
      format,
      ...(symmetric && { divisor: (2 ** bits - 1) / 2 }),
      codes_from: "stored",
      apply: "divide",
      all_zero: 1,
    },
    ...(!symmetric && { zero_point: { kind: "int" as const } }),
    tail: "short",
    source,
  });
}

/** A whole number of the settings. Error `MALFORMED` if it is none, or out of range. */
export function wholeSetting(
  settings: Record<string, unknown>,
  name: string,
  file: string,
  [least, most]: [number, number],
): number {
  const value = settings[name];
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) {
    return value as number;
  }
  throw new LowbitError(
    "MALFORMED",
    `is ${JSON.stringify(value)}, not a number from ${least} to ${most}`,
    {
      file,
      field: `quantization_config.${name}`,
    },
  );
}

/** An error about a setting that this dialect has and lowbit does not read. */
export function unsupportedSetting(
  name: string,
  value: unknown,
  file: string,
  advice: string,
): LowbitError {
  return new LowbitError("UNSUPPORTED", `${JSON.stringify(value)} cannot be read`, {
    file,
    field: `quantization_config.${name}`,
    advice,
  });
}
