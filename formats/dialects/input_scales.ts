/**
 * Static scales of the inputs of linears, as tensors beside the weight: one scale, and one zero point
 * where the scheme has any, both f32. Where groups of inputs have scales under one of the tensor
 * (NVFP4), that one is static and they are not.
 *
 * @module
 */

import {
  type GridParameters,
  LowbitError,
  type PlainType,
  type QuantizedTensor,
  type ResolvedScheme,
  type StoredTensor,
} from "../../spec/mod.ts";
import { decodePlain, encodePlain } from "../containers/plain.ts";
import type { DirectoryTensors } from "./directory.ts";

/** What the tensors are called, after the name of the weight or of its module. */
export interface InputNames {
  /** The scale. */
  scale: string;
  /** The zero point. */
  zero: string;
}

/** A tensor to be written. */
export interface InputEntry {
  /** Its name. */
  name: string;
  /** Its type. */
  type: "float32";
  /** Its shape. */
  shape: number[];
  /** Its bytes, from the weight whose inputs it is about. */
  bytes(tensor: QuantizedTensor): Uint8Array;
}

/** The tensors of static scales; none where the scheme is dynamic. */
export function inputEntries(names: InputNames, activation?: ResolvedScheme): InputEntry[] {
  if (activation?.timing !== "static") return [];
  const entry = (name: string, of: "scales" | "zeros"): InputEntry => ({
    name,
    type: "float32",
    shape: [1],
    bytes({ input }) {
      if (input) return encodePlain("float32", input[of]!);
      throw new LowbitError("CALIBRATION", "has no static scale of its inputs", { field: name });
    },
  });
  return [
    entry(names.scale, "scales"),
    ...(activation.zero_point ? [entry(names.zero, "zeros")] : []),
  ];
}

const TYPES: readonly PlainType[] = ["float32", "float16", "bfloat16"];

/** A coded tensor with the static scales of its inputs; as it is where the scheme is dynamic. */
export function withInputScales(
  stored: StoredTensor,
  directory: DirectoryTensors,
  names: InputNames,
  activation?: ResolvedScheme,
): StoredTensor {
  if (activation?.timing !== "static") return stored;
  const part = (name: string) => {
    const found = directory.part(name, TYPES);
    if (found.place.shape.reduce((a, b) => a * b, 1) === 1) return found;
    throw new LowbitError("MALFORMED", `has the shape [${found.place.shape}], expected [1]`, {
      file: found.place.source.name,
      field: name,
    });
  };
  const scale = part(names.scale);
  const zero = activation.zero_point ? part(names.zero) : undefined;
  const value = async (from: typeof scale) => {
    const [number] = decodePlain(from.place.type, await from.read());
    if (Number.isFinite(number) && (number > 0 || !activation.scale.second)) {
      return Float32Array.of(number);
    }
    throw new LowbitError("NON_FINITE", `is ${number}, which is no scale`, {
      file: from.place.source.name,
      field: from.place.name,
    });
  };
  return {
    ...stored,
    bytes: stored.bytes + scale.bytes + (zero?.bytes ?? 0),
    async quantized(rows) {
      const input: GridParameters = {
        scales: await value(scale),
        ...(zero && { zeros: await value(zero) }),
      };
      return { ...await stored.quantized(rows), input };
    },
  };
}
