/**
 * Reading folders of MLC: `ndarray-cache.json` (or `tensor-cache.json`) lists the tensors of
 * `params_shard_N.bin`, plainly or in groups of 32 codes of four bits (`q4f16_1`, `q4f32_1`).
 *
 * @module
 */

import { LowbitError, PLAIN_BYTES, type PlainType } from "../../spec/mod.ts";
import { elementCount, type PlainPlace } from "../containers/stored.ts";
import { layout as layoutOf } from "../lookup.ts";
import type { SafetensorsFile } from "./directory.ts";
import { checkPlainName, type Folder, readJsonObject } from "./folder.ts";
import { type DialectReader, FoundTensors, integerScheme, rowValues } from "./packed.ts";

const CACHES = ["tensor-cache.json", "ndarray-cache.json"];
const SETTINGS = "mlc-chat-config.json";
/** Codes are stored with this offset. */
const OFFSET = 7;
const BITS = 4, GROUP = 32;

/** The list of tensors of a folder of MLC, if it is one. */
export function mlcCache({ names }: Folder): string | undefined {
  return CACHES.find((name) => names.includes(name));
}

/** Settings and files of a folder of MLC. Errors: `MALFORMED`, `NOT_FOUND`, `TRUNCATED`. */
export async function mlcFiles(
  folder: Folder,
  cache: string,
  open: (name: string) => Promise<SafetensorsFile["source"]>,
): Promise<{ config: Record<string, unknown>; files: SafetensorsFile[] }> {
  const place = `${folder.name}/${cache}`;
  const wrong = (problem: string, field: string) =>
    new LowbitError("MALFORMED", problem, { file: place, field });
  const settings = folder.names.includes(SETTINGS) ? await readJsonObject(folder, SETTINGS) : {};
  const { records } = await readJsonObject(folder, cache);
  if (!Array.isArray(records)) throw wrong("must be a list", "records");
  const files: SafetensorsFile[] = [];
  for (const shard of records as Record<string, unknown>[]) {
    const { dataPath, format, records: inside } = shard ?? {};
    if (typeof dataPath !== "string" || format !== "raw-shard" || !Array.isArray(inside)) {
      throw wrong("must be shards with a dataPath, of the format raw-shard", "records");
    }
    checkPlainName(dataPath, place);
    const source = await open(dataPath);
    const tensors = (inside as unknown[]).map((entry) => tensorPlace(entry, source, wrong));
    const names = new Set(tensors.map(({ name }) => name));
    if (names.size !== tensors.length) throw wrong("names a tensor twice", dataPath);
    files.push({ source, tensors, metadata: new Map() } as SafetensorsFile);
  }
  const { model_config, model_type, quantization } = settings;
  const config = {
    ...model_config as Record<string, unknown>,
    ...(typeof model_type === "string" && { model_type }),
    quantization_config: { quant_method: "mlc", quantization },
  };
  return { config, files };
}

const TYPES: readonly PlainType[] = ["uint32", "float16", "float32", "bfloat16", "int32", "uint8"];

function tensorPlace(
  entry: unknown,
  source: SafetensorsFile["source"],
  wrong: (problem: string, field: string) => LowbitError,
): PlainPlace {
  const { name, shape, dtype, format, nbytes, byteOffset } = (entry ?? {}) as Record<
    string,
    unknown
  >;
  const field = String(name);
  const whole = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  if (typeof name !== "string" || !Array.isArray(shape) || !shape.every(whole)) {
    throw wrong("has no name and shape", field);
  }
  // Values of f32 may be kept by their upper halves.
  const type = format === "f32-to-bf16" && dtype === "float32"
    ? "bfloat16"
    : TYPES.find((known) => known === dtype);
  if (!type) throw wrong(`has the type ${JSON.stringify(dtype)}`, field);
  if (!whole(byteOffset) || nbytes !== elementCount(shape) * PLAIN_BYTES[type]) {
    throw wrong(`has ${nbytes} bytes at ${byteOffset} for [${shape}] of ${type}`, field);
  }
  if (byteOffset + nbytes > source.size) {
    throw new LowbitError("TRUNCATED", `ends at ${byteOffset + nbytes} of ${source.size} bytes`, {
      file: source.name,
      field,
    });
  }
  return { name, shape: shape as number[], type, source, offset: byteOffset };
}

/** The weights of four bits. Errors: `UNSUPPORTED`, `MALFORMED`, `NOT_FOUND`. */
export const mlcTensors: DialectReader = (directory, settings, file, tools) => {
  const found = new FoundTensors();
  for (const words of directory.names().filter((name) => name.endsWith(".q_weight"))) {
    const module = words.slice(0, -".q_weight".length);
    const codes = directory.part(words, ["uint32"]);
    const [rows, width] = codes.place.shape;
    const scales = directory.part(`${module}.q_scale`, ["float16", "float32", "bfloat16"]);
    const columns = width * (32 / BITS);
    const fits = codes.place.shape.length === 2 && scales.place.shape.length === 2 &&
      scales.place.shape[0] === rows && scales.place.shape[1] === Math.ceil(columns / GROUP);
    if (!fits) {
      throw new LowbitError(
        "UNSUPPORTED",
        `has codes of [${codes.place.shape}] and scales of [${scales.place.shape}]`,
        {
          file,
          field: words,
          advice: `q4f16_1, q4f32_1 and q0f16 can be read, not ${settings.quantization}`,
        },
      );
    }
    const { type } = scales.place;
    found.add({
      name: `${module}.weight`,
      shape: [rows, columns],
      scheme: integerScheme({
        dialect: "mlc",
        bits: BITS,
        symmetric: false,
        granularity: { kind: "group", size: GROUP },
        format: type,
        source: "MLC-LLM, group quantization of q4f16_1",
      }),
      layout: layoutOf("compressed_tensors_uint"),
      codes,
      others: [scales],
      values: {
        scales: rowValues(scales, type),
        zeros: (first, last) =>
          Promise.resolve(
            new Float32Array((last - first) * scales.place.shape[1]).fill(OFFSET),
          ),
      },
    }, tools);
  }
  return Promise.resolve(found);
};
