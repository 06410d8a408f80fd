/**
 * Static scales of activations: what calibration has seen of the inputs of a linear, as one scale.
 *
 * @module
 */

import {
  type Codecs,
  type GridParameters,
  type InputStatistics,
  type LinearInfo,
  LowbitError,
  type ResolvedScheme,
} from "../spec/mod.ts";

/** The scale and zero point of inputs over the range of a calibration; none for dynamic schemes. */
export function staticScales(
  codecs: Codecs,
  scheme: ResolvedScheme | undefined,
  { min, max, tokens, columns }: InputStatistics,
  linear: LinearInfo,
): GridParameters | undefined {
  if (scheme?.timing !== "static") return undefined;
  if (!min || !max || tokens === 0) {
    throw new LowbitError("CALIBRATION", "was never reached, so its inputs have no static scale", {
      field: linear.id,
      advice: "calibrate on more or other text, or use a dynamic scheme",
    });
  }
  const least = min.reduce((a, b) => Math.min(a, b));
  const largest = max.reduce((a, b) => Math.max(a, b));
  if (!Number.isFinite(least) || !Number.isFinite(largest) || least === largest) {
    throw new LowbitError("NUMERICS", `its inputs are all ${least}, which gives no scale`, {
      field: linear.id,
      advice: "check the checkpoint, or use a dynamic scheme",
    });
  }
  const extreme = -least > largest ? least : largest;
  const codec = codecs.get(scheme);
  return codec.fit({
    min: Float32Array.of(least),
    max: Float32Array.of(largest),
    extreme: Float32Array.of(extreme),
    tiling: codec.tiling(1, columns),
  });
}
