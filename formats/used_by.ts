/**
 * Where a format of the catalog is used.
 *
 * @module
 */

import { layouts, numberFormats, resolveScheme, schemes } from "./lookup.ts";
import { createTargets } from "./targets.ts";

/** What of the catalog builds on a format. */
export interface UsedBy {
  /** Schemes with it as their element, or as the format of their scales. */
  schemes: string[];
  /** Layouts with parts of it, or that hold it by default. */
  layouts: string[];
  /** Targets that can write a matrix of it. */
  targets: string[];
}

/** A matrix that every granularity divides. */
const SHAPE: [rows: number, columns: number] = [256, 1024];

/**
 * What builds on a number format, scheme or layout.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { usedBy } from "./used_by.ts";
 * assert(usedBy("float4_e2m1fn").schemes.includes("mxfp4"));
 * assert(usedBy("q8_0").targets.includes("gguf"));
 * assert(usedBy("float16").layouts.includes("ggml_q4_0"));
 * ```
 */
export function usedBy(id: string): UsedBy {
  const inSchemes = schemes.ids().filter((name) => {
    const { element, scale: { format, second } } = resolveScheme(name);
    const over = second?.kind === "super_block" ? second.format : undefined;
    return [element.id, format, over].includes(id);
  });
  const inLayouts = layouts.ids().filter((name) =>
    layouts.get(name).parts?.some(({ format }) => format === id)
  );
  const known = createTargets();
  const targets = new Set<string>();
  const held = new Set<string>();
  for (const name of schemes.ids()) {
    const scheme = resolveScheme(name);
    const storage = { kind: "coded" as const, scheme };
    for (const target of known) {
      const fit = target.fit({ name, shape: SHAPE, storage, linear: true });
      if (!fit.ok) continue;
      if (name === id || inSchemes.includes(name)) {
        targets.add(target.id);
        if (fit.layout) held.add(fit.layout);
      }
      if (fit.layout === id) targets.add(target.id);
    }
  }
  const defines = numberFormats.has(id) || schemes.has(id);
  return {
    schemes: inSchemes,
    layouts: [...new Set([...inLayouts, ...defines ? held : []])].sort(),
    targets: [...targets],
  };
}
