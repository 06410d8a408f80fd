/**
 * Reading GPTQ checkpoints: `X.qweight`, `X.qzeros`, `X.scales` and `X.g_idx`, as GPTQModel,
 * AutoGPTQ and `transformers` write them.
 *
 * Version 1 (`checkpoint_format: gptq`) stores zero points less one, version 2 (`gptq_v2`) as they
 * are, and the planar form (`gptq_p`) as version 2 does.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import { layout as layoutOf } from "../lookup.ts";
import type { Tools } from "./coded.ts";
import { groupIndex, groupOrder } from "./column_order.ts";
import type { DirectoryTensors } from "./directory.ts";
import { marlinTensors } from "./marlin.ts";
import {
  type DialectReader,
  FoundTensors,
  integerScheme,
  laidOutValues,
  packedValues,
  unsupportedSetting,
  type Values,
  wholeSetting,
} from "./packed.ts";

/** What the settings say of all weights. */
interface Settings {
  bits: number;
  group: number;
  symmetric: boolean;
  /** Whether `g_idx` may be more than a run of groups. */
  ordered: boolean;
  format: Format;
}

/** The layouts of a checkpoint format. */
interface Format {
  /** Widths that it holds. */
  bits: readonly number[];
  signed(bits: number): string | undefined;
  unsigned(bits: number): string;
  zeros(bits: number): string;
}

const planar = (bits: number) => (bits === 3 || bits > 4) && bits < 8;

const V2: Format = {
  bits: [2, 3, 4, 8],
  signed: () => "gptq_int",
  unsigned: () => "gptq_uint",
  zeros: () => "gptq_zeros_v2",
};

const FORMATS: Readonly<Record<string, Format>> = {
  gptq: { ...V2, zeros: () => "gptq_zeros_v1" },
  gptq_v2: V2,
  gptq_p: {
    bits: [2, 3, 4, 5, 6, 7, 8],
    signed: (bits) => planar(bits) ? undefined : "gptq_int",
    unsigned: (bits) => planar(bits) ? `gptq_p${bits}` : "gptq_uint",
    zeros: (bits) => planar(bits) ? `gptq_p${bits}_zeros` : "gptq_zeros_v2",
  },
};

/**
 * The packed weights of a GPTQ checkpoint.
 *
 * Errors: `UNSUPPORTED` (other formats), `MALFORMED`, `NOT_FOUND`, and `MALFORMED` on reading a
 * weight whose zero points or `g_idx` contradict the settings.
 */
export const gptqTensors: DialectReader = async (directory, config, file, tools) => {
  if (config.checkpoint_format === "marlin" || config.is_marlin_format === true) {
    return await marlinTensors(directory, config, file, tools);
  }
  const settings = readSettings(config, file);
  const found = new FoundTensors();
  for (const packed of directory.names().filter((name) => name.endsWith(".qweight"))) {
    await addWeight(found, directory, packed.slice(0, -".qweight".length), settings, tools);
  }
  return found;
};

function readSettings(config: Record<string, unknown>, file: string): Settings {
  const name = config.checkpoint_format ?? config.format ?? "gptq";
  const format = typeof name === "string" && Object.hasOwn(FORMATS, name)
    ? FORMATS[name]
    : undefined;
  if (!format) {
    const advice = `checkpoints of the formats ${Object.keys(FORMATS).join(", ")} can`;
    throw unsupportedSetting("checkpoint_format", name, file, advice);
  }
  const group = config.group_size === -1
    ? Infinity
    : wholeSetting(config, "group_size", file, [1, 2 ** 20]);
  return {
    bits: wholeSetting(config, "bits", file, [1, 8]),
    group,
    symmetric: config.sym === true,
    ordered: config.desc_act === true,
    format,
  };
}

async function addWeight(
  found: FoundTensors,
  directory: DirectoryTensors,
  module: string,
  settings: Settings,
  tools: Tools,
): Promise<void> {
  const { format } = settings;
  const codes = directory.part(`${module}.qweight`, ["int32"]);
  const [words, rows] = codes.place.shape;
  const index = directory.has(`${module}.g_idx`)
    ? directory.part(`${module}.g_idx`, ["int32", "int64"])
    : undefined;
  // Modules may have bits of their own (`dynamic`): the length of g_idx tells.
  const columns = index?.place.shape[0] ?? words * 32 / settings.bits;
  const bits = words * 32 / columns;
  const fail = (problem: string) => {
    throw new LowbitError("MALFORMED", problem, {
      file: codes.place.source.name,
      field: codes.place.name,
    });
  };
  if (codes.place.shape.length !== 2) fail("is not a matrix");
  if (!format.bits.includes(bits)) fail(`has ${words} x ${rows} words for ${columns} columns`);
  const scales = directory.part(`${module}.scales`, ["float16", "bfloat16", "float32"]);
  const [groups] = scales.place.shape;
  const group = Math.min(settings.group, columns);
  if (Math.ceil(columns / group) !== groups || scales.place.shape[1] !== rows) {
    fail(`has scales of [${scales.place.shape}] for [${rows},${columns}] in groups of ${group}`);
  }
  const zeros = directory.part(`${module}.qzeros`, ["int32"], [
    groups,
    Math.ceil(rows * bits / 32),
  ]);

  const grid = { rows, columns: groups };
  const type = scales.place.type;
  const scaleValues = laidOutValues(scales, type, grid, layoutOf("group_major"));
  const zeroLayout = layoutOf(format.zeros(bits));
  const zeroValues = packedValues(zeros, { ...grid, bits }, zeroLayout, tools);
  const indices = settings.ordered && index ? await groupIndex(index, group, groups) : undefined;
  const order = indices && groupOrder(indices, group);
  // Groups of any sizes: every column has its scale.
  const single = order ? undefined : indices;
  const signed = settings.symmetric && !single ? format.signed(bits) : undefined;
  found.add({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: integerScheme({
      dialect: "gptq",
      bits,
      symmetric: signed !== undefined,
      granularity: { kind: "group", size: single ? 1 : group },
      format: type,
      source: "GPTQ, arXiv 2210.17323",
    }),
    layout: layoutOf(signed ?? format.unsigned(bits)),
    codes,
    others: [scales, zeros, ...(index ? [index] : [])],
    order,
    values: {
      scales: single ? byColumn(scaleValues, groups, single) : scaleValues,
      ...(!signed && { zeros: single ? byColumn(zeroValues, groups, single) : zeroValues }),
    },
    async check() {
      if (index && !settings.ordered && await groupIndex(index, group, groups)) {
        fail("has a g_idx in activation order, but its settings say desc_act: false");
      }
      const middle = 2 ** (bits - 1);
      const other = signed && (await zeroValues(0, rows)).find((zero) => zero !== middle);
      if (other !== undefined && signed) {
        fail(`has a zero point of ${other}, but its settings say sym: true`);
      }
    },
  }, tools);
}

/** The values of every column, for groups that are no runs of columns. */
function byColumn(values: Values, groups: number, order: Float32Array): Values {
  return async (first, last) => {
    const grid = await values(first, last);
    const out = new Float32Array((last - first) * order.length);
    for (let row = 0; row < last - first; row++) {
      for (let column = 0; column < order.length; column++) {
        out[row * order.length + column] = grid[row * groups + order[column]];
      }
    }
    return out;
  };
}
