/**
 * `lowbit inspect`
 *
 * @module
 */

import { open } from "../formats/library.ts";
import { openModel } from "../models/architecture.ts";
import { LowbitError, storageLabel, type StoredTensor } from "../spec/mod.ts";
import { modelPath } from "../workbench.ts";
import type { Command } from "./arguments.ts";
import { SOURCE_OPTIONS, sourceOptions } from "./sources.ts";
import { writeError, writeLine } from "./progress.ts";
import { formatBytes, table } from "./table.ts";

/** The command. */
export const inspectCommand: Command = {
  name: "inspect",
  usage: "PATH",
  summary: "List the tensors of a checkpoint, from its headers alone.",
  positional: [1, 1],
  options: SOURCE_OPTIONS.filter(({ name }) => name !== "no-download"),
  async run(args) {
    const checkpoint = await open(modelPath(args.positional[0]), {
      ...sourceOptions(args),
      download: false,
    });
    try {
      const tensors = [...checkpoint.tensors.values()].map(describe);
      const elements = tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
      const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
      const { architecture, note } = architectureOf(checkpoint);
      if (args.flag("json")) {
        writeLine(JSON.stringify({
          name: args.positional[0],
          kind: checkpoint.kind,
          architecture,
          elements,
          bytes,
          bits_per_weight: elements === 0 ? 0 : 8 * bytes / elements,
          files: checkpoint.files.map(({ name, size }) => ({ name: basename(name), bytes: size })),
          tensors: tensors.map(({ elements: _, ...tensor }) => tensor),
        }));
        return;
      }
      writeLine(table(
        ["tensor", "shape", "stored as", "layout", "bytes"],
        tensors.map((t) => [t.name, t.shape.join(" x "), t.scheme, t.layout ?? "-", t.bytes]),
      ));
      writeLine(
        `${checkpoint.kind}, ${
          architecture ?? "no known architecture"
        }: ${tensors.length} tensors, ` +
          `${elements} elements, ${formatBytes(bytes)}`,
      );
      if (note) writeError(`note: ${note}`);
    } finally {
      checkpoint.close();
    }
  },
};

function describe(tensor: StoredTensor) {
  const { name, shape, storage, bytes } = tensor;
  return {
    name,
    shape: [...shape],
    scheme: storageLabel(storage),
    ...(storage.kind === "coded" && { layout: storage.layout.id }),
    bytes,
    elements: shape.reduce((a, b) => a * b, 1),
  };
}

/** The architecture, or why it is none that can be run; a file of tensors need not be a model. */
function architectureOf(
  checkpoint: Parameters<typeof openModel>[0],
): { architecture?: string; note?: string } {
  try {
    return { architecture: openModel(checkpoint).architecture.id };
  } catch (error) {
    if (error instanceof LowbitError) return { note: error.message };
    throw error;
  }
}

function basename(path: string): string {
  return path.split(/[\\/]/).at(-1)!;
}
