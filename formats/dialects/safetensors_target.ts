/**
 * The target of plain tensors: a Hugging Face directory in full precision.
 *
 * @module
 */

import type { PlannedTensor, Target, TargetArguments, TargetWriter } from "../../spec/mod.ts";
import { writeSafetensors } from "../containers/safetensors.ts";
import { checkPlan, noVectors, plainBytes, plainType, Plan } from "./check.ts";
import { withoutQuantization, writeSettings } from "./directory.ts";

const ADVICE = "name a plain type, as safetensors:float32, or choose another target";

/**
 * The target that writes plain tensors, as every program with `transformers` reads them.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { safetensorsTarget } from "./safetensors_target.ts";
 * const storage = { kind: "plain" as const, type: "float16" as const };
 * const fit = safetensorsTarget().fit({ name: "x", shape: [2, 3], storage, linear: false });
 * assertEquals(fit, { ok: true, bytes: 12 });
 * ```
 */
export function safetensorsTarget(): Target {
  return {
    id: "safetensors",
    summary: "plain tensors in full precision, for everything that reads Hugging Face directories",
    naming: "huggingface",
    output: "directory",
    fit,
    conflicts: () => [],
    create,
  };
}

function fit(tensor: PlannedTensor): ReturnType<Target["fit"]> {
  if (tensor.storage.kind === "plain") return { ok: true, bytes: plainBytes(tensor) };
  if (tensor.storage.kind === "vector") return noVectors("safetensors");
  return { ok: false, problem: "plain safetensors have no codes", advice: ADVICE };
}

async function create(args: TargetArguments): Promise<TargetWriter> {
  checkPlan({ fit, conflicts: () => [] }, args);
  await writeSettings(args, withoutQuantization(args.config));
  const entries = args.tensors.map((tensor) => ({
    name: tensor.name,
    type: plainType(tensor),
    shape: tensor.shape,
  }));
  const sink = await args.output.file("model.safetensors");
  const writer = await writeSafetensors(sink, entries, new Map([["format", "pt"]]));
  const plan = new Plan(args.tensors);
  return {
    async plain(name, bytes) {
      plan.take(name, "plain");
      await writer.write(name, bytes);
    },
    coded: (name) => Promise.reject(plan.take(name, "plain")),
    async finish() {
      plan.finish();
      await writer.finish();
    },
  };
}
