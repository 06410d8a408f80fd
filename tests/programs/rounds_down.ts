/**
 * A deliberately wrong program: encodes number formats, but rounds down. `rounds_down.ts ID IN OUT`
 *
 * @module
 */

import { createCodecs } from "../../formats/codec.ts";
import { encodeFile } from "../../formats/encode_file.ts";
import { referenceKernels } from "../../kernels-wasm/reference.ts";

const [id, input, output] = Deno.args;
const kernels = referenceKernels();
const cast = { rounding: "down" } as const;
await encodeFile({ kernels, codecs: createCodecs(kernels), id, input, output, cast });
