/**
 * Packing a file of codes by a layout.
 *
 * @module
 */

import { type Kernels, type Layout, LowbitError } from "../spec/mod.ts";
import { type Part, writeParts } from "./containers/parts.ts";
import { openCheckpoint } from "./open.ts";
import { packMatrix } from "./pack.ts";

/**
 * Packs every U8 tensor `NAME.codes` of a file by a layout, with `NAME.scales` and `NAME.zeros` where
 * its blocks have them, into `NAME.bytes`. Errors as those of `packMatrix`, and `NOT_FOUND`.
 */
export async function packFile(
  args: {
    kernels: Kernels;
    id: string;
    input: string;
    output: string;
    overwrite?: boolean;
    bits?: number;
  },
  layout: Layout,
): Promise<{ name: string; shape: number[] }[]> {
  const { kernels, input, output } = args;
  const checkpoint = await openCheckpoint(input);
  const parts: Part[] = [];
  try {
    for (const tensor of checkpoint.tensors.values()) {
      const { name, storage, shape } = tensor;
      if (storage.kind !== "plain" || storage.type !== "uint8" || !name.endsWith(".codes")) {
        continue;
      }
      const stem = name.slice(0, -".codes".length);
      const numbers = async (role: string) =>
        await checkpoint.tensors.get(`${stem}.${role}`)?.read();
      const [scale, minimum] = [await numbers("scales"), await numbers("zeros")];
      const columns = shape.at(-1) ?? 1;
      const rows = shape.slice(0, -1).reduce((product, n) => product * n, 1);
      const bytes = packMatrix(
        kernels,
        {
          codes: (await tensor.raw()).slice(),
          parts: { ...(scale && { scale }), ...(minimum && { minimum }) },
        },
        { rows, columns, bits: args.bits ?? layout.bits[0] },
        layout,
      );
      parts.push({ name: `${stem}.bytes`, type: "uint8", shape: [bytes.length], bytes });
    }
  } finally {
    checkpoint.close();
  }
  if (parts.length === 0) {
    throw new LowbitError("NOT_FOUND", "has no U8 tensor NAME.codes", { file: input });
  }
  await writeParts(output, parts, args.overwrite);
  return parts.map(({ name, shape }) => ({ name, shape }));
}

/** Whether a file has codes to pack: what tells a layout from a scheme of the same id. */
export async function holdsCodes(input: string): Promise<boolean> {
  const checkpoint = await openCheckpoint(input);
  try {
    return [...checkpoint.tensors.keys()].some((name) => name.endsWith(".codes"));
  } finally {
    checkpoint.close();
  }
}
