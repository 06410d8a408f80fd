/**
 * Energy of the processor, where the system counts it (RAPL of Linux) and the process may read it.
 *
 * @module
 */

const RAPL = "/sys/class/powercap/intel-rapl:0/";

/** A reading, microjoules; undefined where there is none to be had. */
export function readEnergy(): { now: number; range: number } | undefined {
  try {
    const number = (name: string) => Number(Deno.readTextFileSync(RAPL + name));
    const [now, range] = [number("energy_uj"), number("max_energy_range_uj")];
    return Number.isFinite(now) && Number.isFinite(range) ? { now, range } : undefined;
  } catch {
    return undefined; // no such counter, or no permission: both mean that nothing is said
  }
}

/** Joules between two readings; the counter may have wrapped once. */
export function joulesBetween(
  before: ReturnType<typeof readEnergy>,
  after: ReturnType<typeof readEnergy>,
): number | undefined {
  if (!before || !after) return undefined;
  const difference = after.now - before.now;
  return (difference < 0 ? difference + before.range : difference) / 1e6;
}
