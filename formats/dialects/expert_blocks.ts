/**
 * Reading MXFP4 checkpoints of gpt-oss: the experts of a block in one tensor, `X_blocks` (experts,
 * outputs, groups, 16 bytes of two codes) and `X_scales` (an exponent a group).
 *
 * The tensor `X` has the shape [experts, outputs, inputs]; the plain checkpoints of `transformers`
 * have its last two dimensions the other way round.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import { decodeScales } from "../containers/scales.ts";
import { layout as layoutOf, resolveScheme } from "../lookup.ts";
import { type DialectReader, FoundTensors } from "./packed.ts";

const GROUP = 32;

/** The packed experts of a checkpoint of gpt-oss. Errors: `MALFORMED`, `NOT_FOUND`. */
export const expertBlocks: DialectReader = (directory, _settings, _file, tools) => {
  const found = new FoundTensors();
  const suffix = "_blocks";
  for (const blocks of directory.names().filter((name) => name.endsWith(suffix))) {
    const name = blocks.slice(0, -suffix.length);
    const codes = directory.part(blocks, ["uint8"]);
    const [experts, outputs, groups, bytes] = codes.place.shape;
    if (codes.place.shape.length !== 4 || bytes !== GROUP / 2) {
      throw new LowbitError("MALFORMED", `has the shape [${codes.place.shape}]`, {
        file: codes.place.source.name,
        field: blocks,
      });
    }
    const scales = directory.part(`${name}_scales`, ["uint8"], [experts, outputs, groups]);
    const columns = groups * GROUP;
    found.add({
      name,
      shape: [experts * outputs, columns],
      tensorShape: [experts, outputs, columns],
      scheme: resolveScheme("mxfp4"),
      layout: layoutOf("fp4_pairs"),
      codes,
      others: [scales],
      values: {
        scales: async (first, last) =>
          decodeScales(
            "float8_e8m0fnu",
            await scales.bytesAt(first * groups, (last - first) * groups),
          ),
      },
    }, tools);
  }
  return Promise.resolve(found);
};
