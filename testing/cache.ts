/**
 * Checks of the hook `cache`.
 *
 * @module
 */

import { seededRng } from "../engine/rng.ts";
import type { CachePolicy, Plugin } from "../spec/mod.ts";
import { type Bench, contextOf } from "./bench.ts";
import { closeTo } from "./close.ts";
import type { Findings } from "./report.ts";
import { fingerprint } from "./snapshot.ts";

const KV_HEADS = 2;
const HEAD_SIZE = 32;
const WIDTH = KV_HEADS * HEAD_SIZE;
/** Longer than windows of full precision usually are. */
const TOKENS = 300;

/** Runs the checks. */
export function checkCache(
  plugin: Plugin,
  options: Record<string, unknown>,
  bench: Bench,
  reference: Bench,
  findings: Findings,
): void {
  if (!plugin.cache) return;
  const rng = seededRng("testing/cache");
  const [keys, values] = [0, 1].map(() =>
    Float32Array.from({ length: TOKENS * WIDTH }, () => rng.normal())
  );
  const open = (on = bench): CachePolicy =>
    plugin.cache!({
      context: contextOf(on, plugin, options),
      block: 0,
      kvHeads: KV_HEADS,
      headSize: HEAD_SIZE,
    });
  const append = (policy: CachePolicy, start: number, end: number) => {
    const cut = (x: Float32Array) => x.slice(start * WIDTH, end * WIDTH);
    const given = [cut(keys), cut(values)];
    policy.append(given[0], given[1], end - start);
    const changed = closeTo([cut(keys), cut(values)], given, 0);
    findings.case("inputs", changed && "append changed its keys or values");
    return policy;
  };
  const fed = (policy: CachePolicy, ...ends: number[]) => {
    ends.forEach((end, i) => append(policy, ends[i - 1] ?? 0, end));
    return policy;
  };
  const read = (policy: CachePolicy) => fingerprint(policy.read());
  const whole = findings.try("cache", "append", () => fed(open(), TOKENS));
  if (!whole) return;
  const first = read(whole);
  findings.case("cache", rowsProblem(whole));
  findings.case("repeat", read(fed(open(), TOKENS)) === first ? undefined : "cache: other values");
  const twin = read(fed(open(reference), TOKENS));
  findings.case("twin", twin === first ? undefined : "cache: reference kernels read other values");
  const single = Array.from({ length: TOKENS }, (_, i) => i + 1);
  for (const [name, ends] of [["in parts", [7, 130, TOKENS]], ["one by one", single]] as const) {
    const same = read(fed(open(), ...ends)) === first;
    findings.case("batches", same ? undefined : `cache: tokens that come ${name} read differently`);
  }
  const { bytes } = whole;
  const counted = Number.isFinite(bytes) && bytes > 0;
  findings.case("cache", counted ? undefined : `${bytes} bytes are counted for ${TOKENS} tokens`);
  checkTruncate(open, append, first, findings);
}

/** The rows that are read must be finite, have the right width, and end in the new tokens. */
function rowsProblem(policy: CachePolicy): string | undefined {
  const { keys, values, length } = policy.read();
  if (keys.length !== length * WIDTH || values.length !== length * WIDTH) {
    return `read gives ${keys.length} and ${values.length} numbers for ${length} rows of ${WIDTH}`;
  }
  if (length > TOKENS) return `read gives ${length} rows after ${TOKENS} tokens`;
  if (![...keys, ...values].every(Number.isFinite)) return "read gives numbers that are not finite";
  return undefined;
}

/** Forgetting and appending again must be as if nothing had come between. */
function checkTruncate(
  open: () => CachePolicy,
  append: (policy: CachePolicy, start: number, end: number) => CachePolicy,
  first: string,
  findings: Findings,
): void {
  const empty = open();
  append(empty, 0, 40);
  empty.truncate(0);
  const { length } = empty.read();
  findings.case("cache", length === 0 ? undefined : `${length} rows are left after truncate(0)`);
  append(empty, 0, TOKENS);
  findings.case(
    "cache",
    fingerprint(empty.read()) === first ? undefined : "after truncate(0) it is not as a new one",
  );
  // The newest tokens are those that a speculation takes back.
  const back = append(open(), 0, TOKENS);
  back.truncate(TOKENS - 3);
  append(back, TOKENS - 3, TOKENS);
  findings.case(
    "cache",
    fingerprint(back.read()) === first
      ? undefined
      : "taking back the last 3 tokens and appending them again reads differently",
  );
}
