/**
 * How the dialect "lowbit" names and types the parameters of a coded tensor.
 *
 * @module
 */

import { type PlainType, type ResolvedScheme, streamBytes } from "../../spec/mod.ts";
import { scaleStorageType } from "../containers/scales.ts";
import type { ParameterPart } from "../parameter_parts.ts";
import type { InputNames } from "./input_scales.ts";

/** The last part of the name of a tensor that holds parameters. */
export const PART_NAMES: Readonly<Record<ParameterPart["name"], string>> = {
  scales: "scales",
  zeros: "zeros",
  minima: "minima",
  over: "over",
  overMinima: "over_minima",
  offset: "offset",
};

/** What the static scale of the inputs of a weight is called. */
export function inputNames(name: string): InputNames {
  return { scale: `${name}.input_scale`, zero: `${name}.input_zero` };
}

/** Whether a part is integer zero points, which are stored as dense rows of codes. */
export function packsZeros(scheme: ResolvedScheme, { name }: ParameterPart): boolean {
  return name === "zeros" && scheme.zero_point?.kind === "int";
}

/** The type and shape of the tensor that holds a part. */
export function storedPart(
  scheme: ResolvedScheme,
  part: ParameterPart,
): { type: PlainType; shape: [number, number] } {
  const [rows, columns] = part.shape;
  if (packsZeros(scheme, part)) {
    return { type: "uint8", shape: [rows, streamBytes(columns, scheme.element.bits)] };
  }
  return { type: scaleStorageType(part.format)!, shape: [rows, columns] };
}
