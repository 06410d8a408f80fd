/**
 * Reading BitNet b1.58 checkpoints of `transformers`: ternary codes, four to a byte, and one scale a
 * weight. The class `bitlinear` divides by it; `autobitlinear` multiplies.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import { decodePlain } from "../containers/plain.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { type DialectReader, FoundTensors } from "./packed.ts";

/** The packed weights of a BitNet checkpoint. Errors: `MALFORMED`, `NOT_FOUND`. */
export const bitnetTensors: DialectReader = (directory, settings, _file, tools) => {
  const found = new FoundTensors();
  const divides = (settings.linear_class ?? "bitlinear") === "bitlinear";
  for (const scale of directory.names().filter((name) => name.endsWith(".weight_scale"))) {
    const name = scale.slice(0, -"_scale".length);
    const codes = directory.part(name, ["uint8"]);
    const [packed, columns] = codes.place.shape;
    if (codes.place.shape.length !== 2) {
      throw new LowbitError("MALFORMED", "is not a matrix", {
        file: codes.place.source.name,
        field: name,
      });
    }
    const part = directory.part(scale, ["float32", "float16", "bfloat16"], [1]);
    found.add({
      name,
      shape: [4 * packed, columns],
      scheme: resolveScheme("ternary_tensor"),
      layout: layoutOf("bitnet"),
      codes,
      others: [part],
      values: {
        async scales() {
          const values = decodePlain(part.place.type, await part.read());
          return Float32Array.from(values, (value) => divides ? 1 / value : value);
        },
      },
    }, tools);
  }
  return Promise.resolve(found);
};
