/**
 * Reading FP8 checkpoints of DeepSeek: `X.weight` in E4M3 and `X.weight_scale_inv`, a scale for each
 * block of 128 x 128, which the weight is multiplied with.
 *
 * @module
 */

import { LowbitError, tiling } from "../../spec/mod.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { type DialectReader, FoundTensors, rowValues } from "./packed.ts";

/** The packed weights of an FP8 checkpoint. Errors: `MALFORMED`, `NOT_FOUND`. */
export const fp8Tensors: DialectReader = (directory, config, file, tools) => {
  const size = config.weight_block_size ?? [128, 128];
  const fine = Array.isArray(size) && size.length === 2 &&
    size.every((n) => Number.isSafeInteger(n) && n > 0 && n <= 2 ** 20);
  if (!fine) {
    throw new LowbitError("MALFORMED", `is ${JSON.stringify(size)}, not two sizes`, {
      file,
      field: "quantization_config.weight_block_size",
    });
  }
  const granularity = { kind: "block" as const, rows: size[0], columns: size[1] };
  const found = new FoundTensors();
  const suffix = "_scale_inv";
  for (const scale of directory.names().filter((name) => name.endsWith(`.weight${suffix}`))) {
    const name = scale.slice(0, -suffix.length);
    const codes = directory.part(name, ["float8_e4m3fn"]);
    const [rows, columns] = codes.place.shape;
    if (codes.place.shape.length !== 2) {
      throw new LowbitError("MALFORMED", "is not a matrix", {
        file: codes.place.source.name,
        field: name,
      });
    }
    const { gridRows, gridColumns } = tiling(granularity, rows, columns);
    const types = ["float32", "bfloat16"] as const;
    const scales = directory.part(scale, types, [gridRows, gridColumns]);
    const { type } = scales.place;
    const base = resolveScheme("fp8_b128");
    found.add({
      name,
      shape: [rows, columns],
      scheme: { ...base, granularity, scale: { ...base.scale, format: type } },
      layout: layoutOf("bytes"),
      codes,
      others: [scales],
      values: { scales: rowValues(scales, type) },
    }, tools);
  }
  return Promise.resolve(found);
};
