/**
 * Reading checkpoints of torchao whose tensors are plain: safetensors files that hold the parts of
 * each weight (`X._weight_qdata`, `X._weight_scale`, `X._weight_zero_point`) and say in their metadata
 * what these are.
 *
 * @module
 */

import { type Granularity, LowbitError, type PlainType } from "../../spec/mod.ts";
import { parseJson, toPlain } from "../containers/json.ts";
import { decodeScales } from "../containers/scales.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import type { TensorPart } from "./directory.ts";
import { type DialectReader, FoundTensors, integerScheme, rowValues } from "./packed.ts";

/** Classes of tensors whose codes are bytes. Their packed relatives need kernels to be read. */
const PLAIN = ["Int8Tensor", "IntxUnpackedToInt8Tensor", "Float8Tensor"];
const FLOATS: readonly PlainType[] = ["float32", "float16", "bfloat16"];
const PART = /^(.*\.)_([^.]+)_(qdata|qdata_hp|packed_weight)$/;

/** The coded tensors of a checkpoint of torchao. Errors: `UNSUPPORTED`, `MALFORMED`. */
export const torchaoTensors: DialectReader = async (directory, _settings, file, tools) => {
  const found = new FoundTensors();
  for (const { metadata, source } of directory.files) {
    for (const [name, text] of metadata) {
      if (!text.includes('"_type"')) continue;
      const entry = parseMetadata(text, source.name, name) as { _type?: unknown } | null;
      if (entry?._type === "Tensor" || typeof entry?._type !== "string") continue;
      if (PLAIN.includes(entry._type)) continue;
      throw new LowbitError("UNSUPPORTED", `is a ${entry._type} of torchao`, {
        file: source.name,
        field: name,
        advice: `those of ${PLAIN.join(", ")} can be read; save with Int8WeightOnlyConfig or ` +
          "IntxWeightOnlyConfig, or open the original in full precision",
      });
    }
  }
  for (const codesName of directory.names().filter((name) => PART.test(name))) {
    const [, module, weight] = PART.exec(codesName)!;
    const name = module + weight, prefix = `${module}_${weight}_`;
    const codes = directory.part(codesName, ["int8", "float8_e4m3fn"]);
    const scales = directory.part(`${prefix}scale`, FLOATS);
    const zeroName = `${prefix}zero_point`;
    const zeros = directory.has(zeroName)
      ? directory.part(zeroName, ["int8"], scales.place.shape)
      : undefined;
    const granularity = granularityOf(codes, scales);
    const values = rowValues(scales, scales.place.type);
    const whole = granularity.kind === "tensor";
    const rows = (from: typeof values): typeof values => whole ? () => from(0, 1) : from;
    const shifted = zeros && await shiftedZeros(zeros);
    const [height, width] = codes.place.shape;
    const float = codes.place.type === "float8_e4m3fn";
    found.add({
      name,
      shape: [height, width],
      scheme: float
        ? {
          ...resolveScheme("fp8_channel"),
          granularity,
          scale: { ...resolveScheme("fp8_channel").scale, format: scales.place.type },
        }
        : integerScheme({
          dialect: "torchao",
          bits: 8,
          symmetric: !shifted,
          granularity,
          format: scales.place.type,
          source: "torchao 0.18",
        }),
      layout: layoutOf(shifted ? "bytes_offset" : "bytes"),
      codes,
      others: [scales, ...(zeros ? [zeros] : [])],
      values: {
        scales: rows(values),
        ...(shifted && { zeros: rows(shifted) }),
      },
    }, tools);
  }
  if (found.tensors.size > 0) return found;
  throw new LowbitError("UNSUPPORTED", "has no weights of torchao that are plain tensors", {
    file,
    advice: "save it again with safe_serialization, or open the original in full precision",
  });
};

/** What the metadata of a file say of one tensor. Error: `MALFORMED`. */
function parseMetadata(text: string, file: string, field: string): unknown {
  try {
    return toPlain(parseJson(text));
  } catch (error) {
    if (!(error instanceof LowbitError)) throw error;
    throw new LowbitError("MALFORMED", error.problem, { file, field, cause: error });
  }
}

/** What a scale is for, by how many there are. Error: `MALFORMED`. */
function granularityOf(codes: TensorPart, scales: TensorPart): Granularity {
  const [rows, columns] = codes.place.shape;
  const shape = scales.place.shape;
  const count = shape.reduce((a, b) => a * b, 1);
  if (codes.place.shape.length === 2) {
    if (count === 1 && rows !== 1) return { kind: "tensor" };
    const groups = shape[1] ?? 1;
    if (shape[0] === rows && groups === 1) return { kind: "channel" };
    if (shape[0] === rows && shape.length === 2 && columns % groups === 0) {
      return { kind: "group", size: columns / groups };
    }
  }
  throw new LowbitError(
    "MALFORMED",
    `scales of the shape [${shape}] fit no codes of [${codes.place.shape}]`,
    { file: codes.place.source.name, field: codes.place.name },
  );
}

/** Zero points of codes that are stored with an offset of 128; undefined where all are zero. */
async function shiftedZeros(part: TensorPart) {
  const all = decodeScales("int8", await part.read());
  if (all.every((zero) => zero === 0)) return undefined;
  const read = rowValues(part, "int8");
  return async (first: number, last: number) => (await read(first, last)).map((zero) => zero + 128);
}
