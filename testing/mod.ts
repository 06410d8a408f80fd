/**
 * The test kit for plugins: holds a plugin to every clause of the contract that can be tried.
 *
 * ```ts
 * import { rtn } from "../plugins/mod.ts";
 * import { testPlugin } from "./mod.ts";
 *
 * Deno.test("rtn holds the contract", () => testPlugin(rtn));
 * ```
 *
 * @module
 */

import { loadAutodiff } from "../autodiff/mod.ts";
import { loadKernels } from "../kernels-wasm/mod.ts";
import { referenceKernels } from "../kernels-wasm/reference.ts";
import { rtn } from "../plugins/quantize/rtn/mod.ts";
import { checkManifest, type Plugin } from "../spec/mod.ts";
import { benchOf } from "./bench.ts";
import { checkCache } from "./cache.ts";
import { checkFigures } from "./figures.ts";
import { checkRuns } from "./model.ts";
import { checkOptions } from "./options.ts";
import { brokenError, Findings, type PluginReport } from "./report.ts";
import { guarded } from "./snapshot.ts";
import { checkStatistics } from "./statistics.ts";
import { checkWeights } from "./weights.ts";

export { type CheckName, type CheckResult, CHECKS, type PluginReport } from "./report.ts";

/** How a plugin is tested. */
export interface TestOptions {
  /** Options of the plugin, such as fewer steps of a method that learns. */
  options?: Record<string, unknown>;
  /** Only these schemes and vector formats, by id; all that the plugin supports if absent. */
  schemes?: readonly string[];
}

/**
 * Tries everything that the contract asks of a plugin, and says what became of each check.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { perplexity } from "../plugins/mod.ts";
 * import { inspectPlugin } from "./mod.ts";
 *
 * const report = await inspectPlugin(perplexity);
 * assert(report.ok);
 * assertEquals(report.checks.find(({ check }) => check === "figures")!.outcome, "held");
 * ```
 */
export async function inspectPlugin<O>(
  plugin: Plugin<O>,
  test: TestOptions = {},
): Promise<PluginReport> {
  const findings = new Findings();
  const { name = "plugin" } = plugin.meta ?? {};
  const valid = findings.try("manifest", "", () => (checkManifest(plugin), true));
  // What has no valid manifest cannot be run.
  if (!valid) return findings.report(name);
  const { options = {}, schemes } = test;
  const kernels = await loadKernels({ threads: 1 });
  try {
    const bench = benchOf(kernels);
    const reference = benchOf(referenceKernels());
    checkOptions(plugin as Plugin, findings);
    const own = guarded(plugin as Plugin, findings);
    checkStatistics(own, options, bench, findings);
    await checkWeights({ plugin: own, options, bench, reference, schemes, findings });
    await checkRuns({
      plugin: own,
      options,
      bench,
      findings,
      autodiff: loadAutodiff,
      nearest: rtn as Plugin,
    });
    checkCache(own, options, bench, reference, findings);
    checkFigures(own, options, bench, findings);
  } finally {
    kernels.close();
  }
  return findings.report(name);
}

/**
 * Throws `PLUGIN`, with every broken check and what is wrong, where a plugin does not hold the
 * contract. Returns the report where it does.
 *
 * @example
 * ```ts
 * import { assertRejects } from "@std/assert";
 * import { perplexity } from "../plugins/mod.ts";
 * import { testPlugin } from "./mod.ts";
 *
 * await testPlugin(perplexity);
 * const wrong = { ...perplexity, meta: { ...perplexity.meta, apiVersion: 99 } };
 * await assertRejects(() => testPlugin(wrong), Error, "update lowbit");
 * ```
 */
export async function testPlugin<O>(
  plugin: Plugin<O>,
  options: TestOptions = {},
): Promise<void> {
  const report = await inspectPlugin(plugin, options);
  if (!report.ok) throw brokenError(report);
}
