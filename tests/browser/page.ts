/**
 * What the browser test bundles: some work on kernels, codecs and a tiny model, as digests that
 * must be the same wherever it runs.
 *
 * @module
 */

import { hashBytes } from "../../engine/hash.ts";
import { createCodecs } from "../../formats/codec.ts";
import { memoryOutput } from "../../formats/containers/output.ts";
import { blobSource, memorySource } from "../../formats/containers/source.ts";
import { open } from "../../formats/library.ts";
import { loadKernels } from "../../kernels-wasm/mod.ts";
import type { Kernels } from "../../spec/mod.ts";
import { Workbench } from "../../workbench.ts";
import { digest, numbers, operations } from "./kernels.ts";

/** What a run says: how many threads it had, and a digest of each part of the work. */
export interface Digests {
  /** Threads of the kernels. */
  threads: number;
  /** Products, statistics and casts, large enough to be split among threads. */
  kernels: string;
  /** A matrix quantised by several schemes. */
  codecs: string;
  /** A tiny model quantised by GPTQ: the file that is written. */
  model: string;
  /** The figures of that model. */
  figures: Record<string, number>;
}

/** Files of the tiny model. */
export const FILES = ["config.json", "model.safetensors"];

const [ROWS, COLUMNS] = [192, 256];

/** Does the work; `load` gets the files of the tiny model. */
export async function digests(
  threads: number,
  load: (name: string) => Promise<Uint8Array<ArrayBuffer>>,
): Promise<Digests> {
  const kernels = await loadKernels({ threads });
  const result = {
    threads: kernels.threads,
    kernels: await digest(operations(kernels)),
    codecs: await digest([...casts(kernels, numbers(ROWS * COLUMNS))]),
    ...await tinyModel(kernels, load),
  };
  kernels.close();
  return result;
}

function* casts(kernels: Kernels, weight: Float32Array): Generator<Uint8Array> {
  const codecs = createCodecs(kernels);
  for (
    const id of ["int4_g64_asym", "int8_channel_sym", "nf4_b64", "mxfp4", "fp8_channel", "q4_0"]
  ) {
    const codec = codecs.get(codecs.resolve(id));
    const tensor = codec.quantize(weight, ROWS, COLUMNS);
    yield tensor.codes;
    yield new Uint8Array(tensor.parameters.scales.slice().buffer);
    yield new Uint8Array(codec.dequantize(tensor).slice().buffer);
  }
}

async function tinyModel(
  kernels: Kernels,
  load: (name: string) => Promise<Uint8Array<ArrayBuffer>>,
): Promise<Pick<Digests, "model" | "figures">> {
  const lowbit = new Workbench(kernels);
  const sources = [];
  for (const name of FILES) sources.push(memorySource(name, await load(name)));
  const model = await lowbit.open(sources);
  const windows = [0, 1, 2].map((w) => Int32Array.from({ length: 32 }, (_, i) => (w + i * i) % 64));
  const out = memoryOutput("out");
  await lowbit.quantize({ model, recipe: "gptq-w4g32", out, calibration: windows });
  const files = [...out.files].map(([name, bytes]) => memorySource(name, bytes));
  const quantized = await lowbit.open(files);
  const figures = await lowbit.evaluate({ model: quantized, windows, reference: model });
  return { model: hashBytes(out.files.get("model.safetensors")!), figures };
}

/**
 * What `open` reads of a file that a person chose, or of an address: kinds of tensors, one slice, and the
 * bytes that were asked for.
 */
export async function library(source: File | string): Promise<unknown> {
  let bytes = 0;
  const file = typeof source === "string" ? source : [blobSource(source)].map((inner) => ({
    ...inner,
    read(offset: number, length: number) {
      bytes += length;
      return inner.read(offset, length);
    },
  }));
  const checkpoint = await open(file);
  const tensors = [...checkpoint.tensors.values()].map(({ name, format, shape }) =>
    `${name} ${format} ${shape}`
  );
  const header = bytes;
  const values = await checkpoint.tensors.get("lm_head.weight")!.slice({ start: 3, end: 4 });
  return { tensors, values: [...values], sliced: bytes - header };
}
