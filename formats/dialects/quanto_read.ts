/**
 * Reading checkpoints of optimum-quanto with a code a byte: `X.weight._data` (int8, or FP8 E4M3) and
 * `X.weight._scale`. Its weights of 2 and 4 bits do not say their shape, which only its own model
 * classes know; they are refused.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { type DialectReader, FoundTensors, rowValues } from "./packed.ts";

/** The packed weights of a quanto checkpoint. Errors: `UNSUPPORTED`, `MALFORMED`, `NOT_FOUND`. */
export const quantoTensors: DialectReader = (directory, _config, _file, tools) => {
  const found = new FoundTensors();
  for (const data of directory.names().filter((name) => name.endsWith("._data"))) {
    const name = data.slice(0, -"._data".length);
    if (name.endsWith("._data")) {
      throw new LowbitError("UNSUPPORTED", "is a weight of 2 or 4 bits, which has no shape here", {
        file: directory.place(data)!.source.name,
        field: data,
        advice: "open the checkpoint in full precision, or one of qint8 or qfloat8",
      });
    }
    const codes = directory.part(data, ["int8", "float8_e4m3fn"]);
    const [rows, columns] = codes.place.shape;
    const floats = ["float32", "float16", "bfloat16"] as const;
    const scales = directory.part(`${name}._scale`, floats, [rows, 1]);
    if (codes.place.shape.length !== 2) {
      throw new LowbitError("MALFORMED", "is not a matrix", {
        file: codes.place.source.name,
        field: data,
      });
    }
    for (const unused of ["input_scale", "output_scale"]) {
      const module = name.replace(/\.weight$/, "");
      if (directory.has(`${module}.${unused}`)) directory.part(`${module}.${unused}`, floats, []);
    }
    const base = resolveScheme(codes.place.type === "int8" ? "int8_channel_sym" : "fp8_channel");
    const { type } = scales.place;
    found.add({
      name,
      shape: [rows, columns],
      scheme: { ...base, scale: { ...base.scale, format: type } },
      layout: layoutOf("bytes"),
      codes,
      others: [scales],
      values: { scales: rowValues(scales, type) },
    }, tools);
  }
  return Promise.resolve(found);
};
