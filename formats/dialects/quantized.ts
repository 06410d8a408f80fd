/**
 * The packed dialects over Hugging Face directories that are read, by the `quant_method` of their
 * `quantization_config`.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import { awqTensors } from "./awq_read.ts";
import { bitnetTensors } from "./bitnet_read.ts";
import { bitsandbytesTensors } from "./bitsandbytes_read.ts";
import type { Tools } from "./coded.ts";
import { compressedTensors } from "./compressed_tensors_read.ts";
import type { DirectoryTensors } from "./directory.ts";
import { expertBlocks } from "./expert_blocks.ts";
import { fp8Tensors } from "./fp8_read.ts";
import { gptqTensors } from "./gptq_read.ts";
import { hqqTensors } from "./hqq_read.ts";
import { mlcTensors } from "./mlc_read.ts";
import { marlinTensors } from "./marlin.ts";
import type { DialectReader, FoundTensors } from "./packed.ts";
import { quantoTensors } from "./quanto_read.ts";
import { torchaoTensors } from "./torchao_read.ts";

/** The dialects by their `quant_method`. */
const DIALECTS: Readonly<Record<string, DialectReader>> = {
  "awq": awqTensors,
  "bitnet": bitnetTensors,
  "bitsandbytes": bitsandbytesTensors,
  "compressed-tensors": compressedTensors,
  "fp8": fp8Tensors,
  "gptq": gptqTensors,
  "hqq": hqqTensors,
  "marlin": marlinTensors,
  "mlc": mlcTensors,
  "mxfp4": expertBlocks,
  "quanto": quantoTensors,
  "torchao": torchaoTensors,
};

/**
 * The packed weights of a directory; undefined if its settings name no dialect. Error `UNSUPPORTED`
 * for dialects that cannot be read.
 */
export async function quantizedTensors(
  directory: DirectoryTensors,
  config: Record<string, unknown>,
  file: string,
  tools: Tools,
): Promise<{ kind: string; found: FoundTensors } | undefined> {
  const settings = config.quantization_config;
  if (typeof settings !== "object" || settings === null) {
    // quanto says nothing in config.json.
    if (!directory.names().some((name) => /\.weight(\._data)+$/.test(name))) return undefined;
    return { kind: "quanto", found: await quantoTensors(directory, {}, file, tools, config) };
  }
  const { quant_method: kind } = settings as Record<string, unknown>;
  const read = typeof kind === "string" && Object.hasOwn(DIALECTS, kind)
    ? DIALECTS[kind]
    : undefined;
  if (read) {
    const found = await read(directory, settings as Record<string, unknown>, file, tools, config);
    return { kind: kind as string, found };
  }
  throw new LowbitError(
    "UNSUPPORTED",
    `checkpoints quantised with ${JSON.stringify(kind)} cannot be read`,
    {
      file,
      field: "quantization_config.quant_method",
      advice: `those of ${
        Object.keys(DIALECTS).join(", ")
      } can, and the original in full precision`,
    },
  );
}
