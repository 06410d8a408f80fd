/**
 * Tensors through the writer and the reader of the dialect "lowbit".
 *
 * @module
 */

import { memoryOutput } from "../formats/containers/output.ts";
import { memorySource } from "../formats/containers/source.ts";
import { openCheckpoint } from "../formats/open.ts";
import { createTargets } from "../formats/targets.ts";
import { type Checkpoint, type CodedTensor, isVector, type PlannedTensor } from "../spec/mod.ts";
import type { Bench } from "./bench.ts";
import { type Findings, messageOf } from "./report.ts";
import { fingerprint } from "./snapshot.ts";

const NOTHING: Checkpoint = {
  name: "testing",
  kind: "safetensors",
  naming: "huggingface",
  config: {},
  tensors: new Map(),
  files: [],
  sidecars: new Map(),
  close() {},
};

/** Packs, exports and reads tensors; their codes and values must come back. */
export async function readBack(
  bench: Bench,
  tensors: readonly [name: string, tensor: CodedTensor][],
  findings: Findings,
): Promise<void> {
  for (const [name, tensor] of tensors) {
    let problem: string | undefined;
    try {
      const back = await through(bench, name, tensor);
      const codes = fingerprint(back.codes) === fingerprint(tensor.codes);
      const values = fingerprint(back.values) === fingerprint(bench.codecs.decode(tensor));
      if (!codes || !values) problem = `other ${codes ? "values" : "codes"} are read back`;
    } catch (error) {
      problem = messageOf(error);
    }
    findings.case("roundtrip", problem && `${name}: ${problem}`);
  }
}

/** A tensor, written into memory and read. */
async function through(bench: Bench, name: string, tensor: CodedTensor) {
  const target = createTargets(bench).find(({ id }) => id === "lowbit")!;
  const output = memoryOutput("testing");
  const planned: PlannedTensor = {
    name,
    shape: [...tensor.shape],
    storage: isVector(tensor)
      ? { kind: "vector", format: tensor.format }
      : { kind: "coded", scheme: tensor.scheme },
    linear: true,
  };
  const writer = await target.create({
    output,
    source: NOTHING,
    config: { model_type: "llama" },
    sidecars: new Map(),
    tensors: [planned],
    provenance: { lowbit: "testing", recipe: "testing" },
  });
  if (isVector(tensor)) await writer.vector!(name, tensor);
  else await writer.coded(name, tensor);
  await writer.finish();
  await output.commit();
  const sources = [...output.files].map(([file, bytes]) => memorySource(file, bytes));
  const checkpoint = await openCheckpoint(sources, bench);
  const stored = checkpoint.tensors.get(name)!;
  const back = isVector(tensor) ? await stored.vector!() : await stored.quantized();
  const values = await stored.read();
  checkpoint.close();
  return { codes: back.codes, values };
}
