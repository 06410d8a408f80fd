/**
 * What formats are tried on, and the curve of it that number lines are drawn over.
 *
 * @module
 */

/** Distributions to choose from, by name. */
export const DISTRIBUTIONS = [
  ["gaussian", "normal"],
  ["laplace", "Laplace"],
  ["student_t", "Student's t, 4 degrees of freedom"],
  ["uniform", "uniform"],
] as const;

/** Heights of the densities that number lines are drawn over, up to 4 standard deviations. */
export const DENSITY: Record<string, (x: number) => number> = {
  gaussian: (x) => Math.exp(-x * x / 2),
  laplace: (x) => Math.exp(-Math.abs(x)),
  student_t: (x) => (1 + x * x / 4) ** -2.5,
  uniform: () => 0.5,
};

/** Points of a curve. */
const COUNT = 121;

/** The density of a distribution, or of these numbers, from one end of the number line to the other. */
export function densityOf(on: string, values?: Float32Array): number[] {
  if (on !== "tensor" || !values) {
    const f = DENSITY[on];
    return Array.from({ length: COUNT }, (_, i) => f(8 * i / (COUNT - 1) - 4));
  }
  const peak = values.reduce((max, v) => Math.max(max, Math.abs(v)), 1e-30);
  const counts = new Array<number>(COUNT).fill(0);
  for (const v of values) counts[Math.round((v / peak + 1) / 2 * (COUNT - 1))]++;
  return counts;
}
