/**
 * What a plugin says about itself, and how that is checked.
 *
 * @module
 */

import { z } from "zod";
import { closest, LowbitError } from "./errors.ts";
import type { Granularity } from "./granularity.ts";
import { FAMILIES, type NumberFormat } from "./number_format.ts";
import type { ZeroPointSpec } from "./scheme.ts";
import { schema } from "./schema.ts";
import { VECTOR_FAMILIES, type VectorFormat } from "./vector_format.ts";

/**
 * The version of this contract. Inside a version only optional things are added.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { PLUGINS } from "../plugins/mod.ts";
 * import { PLUGIN_API_VERSION } from "./plugin_manifest.ts";
 * assert(PLUGINS.every(({ meta }) => meta.apiVersion === PLUGIN_API_VERSION));
 * ```
 */
export const PLUGIN_API_VERSION = 1;

/**
 * Statistics of the inputs of a linear that the engine collects once for everybody:
 *
 * - `gram`: `X^T X` in f64, `[columns, columns]`
 * - `abs_max`, `abs_mean`: largest and mean magnitude of each input channel
 * - `moments`: smallest, largest and mean value of each input channel
 * - `mean_square`: mean square of each input channel, what llama.cpp calls the importance matrix
 * - `fisher`: the diagonal of the empirical Fisher information of each weight, by gradient
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { PLUGINS } from "../plugins/mod.ts";
 * import { STATISTIC_NAMES } from "./plugin_manifest.ts";
 * const asked = PLUGINS.flatMap(({ meta }) => meta.needs.statistics);
 * assert(asked.every((name) => STATISTIC_NAMES.includes(name)));
 * ```
 */
export const STATISTIC_NAMES = [
  "gram",
  "abs_max",
  "abs_mean",
  "moments",
  "mean_square",
  "fisher",
] as const;

/** The name of a statistic; see {@linkcode STATISTIC_NAMES}. */
export type StatisticName = typeof STATISTIC_NAMES[number];

/** What a plugin says about itself. */
export interface PluginMeta {
  /** The method's published name in kebab case. */
  name: string;
  /** Semantic version of the plugin. */
  version: string;
  /** The version of the contract it is written for: {@linkcode PLUGIN_API_VERSION}. */
  apiVersion: number;
  /** One line: what it does. */
  summary: string;
  /** Where the method was published. */
  paper?: { title: string; id: string; equation?: string };
  /** What it must be given. */
  needs: {
    /** Statistics of the inputs of the linears it works on. */
    statistics: StatisticName[];
    /** Gradients: its context has an `autodiff`. */
    autodiff?: boolean;
  };
  /** What it can work with; what is absent is not restricted. */
  supports: {
    /** Families of element formats. */
    families?: NumberFormat["family"][];
    /** Families of vector formats, for plugins that quantise to them. */
    vectors?: VectorFormat["family"][];
    /** Granularities. */
    granularities?: Granularity["kind"][];
    /** Kinds of zero points; an empty list means symmetric schemes only. */
    zeroPoints?: ZeroPointSpec["kind"][];
    /** False: schemes must have a zero point. */
    symmetric?: boolean;
  };
  /** Plugins that must come earlier in the pipeline, if they are in it. */
  after?: string[];
  /** Plugins that must not be in the same pipeline. */
  conflicts?: string[];
  /** Its `learn` hook may return transforms; what it changes is then stored in full precision. */
  transforms?: boolean;
  /**
   * The error that it promises to stay under, as a multiple of that of round to nearest: of the
   * weights, or of the outputs on the calibration inputs. 1.5 of the outputs, if absent.
   */
  error?: { of: "weights" | "outputs"; factor: number };
  /** `exact`: the same bytes always; `seeded`: the same bytes for the same seed. */
  determinism: "exact" | "seeded";
}

/**
 * The hooks of a plugin, in the order in which the engine runs them.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { PLUGINS } from "../plugins/mod.ts";
 * import { PLUGIN_HOOKS } from "./plugin_manifest.ts";
 * assert(PLUGINS.every((plugin) => PLUGIN_HOOKS.some((hook) => plugin[hook])));
 * ```
 */
export const PLUGIN_HOOKS = [
  "plan",
  "planLosses",
  "transformModel",
  "collect",
  "transform",
  "clip",
  "quantize",
  "quantizeVector",
  "compensate",
  "learn",
  "learnModel",
  "cache",
  "evaluate",
] as const;

/** The name of a hook. */
export type PluginHook = typeof PLUGIN_HOOKS[number];

const kebab = z.string().regex(
  /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/,
  "must be lower case words joined by -",
);

const metaSchema = schema(
  "plugin",
  z.strictObject({
    name: kebab,
    version: z.string().regex(/^\d+\.\d+\.\d+(-[\w.]+)?$/, "must be a version such as 1.0.0"),
    apiVersion: z.int(),
    summary: z.string().min(1).max(120).regex(/^[^\n]*$/, "must be one line"),
    paper: z.strictObject({
      title: z.string().min(1),
      id: z.string().min(1),
      equation: z.string().optional(),
    }).optional(),
    needs: z.strictObject({
      statistics: z.array(z.enum(STATISTIC_NAMES)),
      autodiff: z.boolean().optional(),
    }),
    supports: z.strictObject({
      families: z.array(z.enum(FAMILIES)).optional(),
      vectors: z.array(z.enum(VECTOR_FAMILIES)).optional(),
      granularities: z.array(
        z.enum(["tensor", "channel", "token", "group", "element", "block"]),
      ).optional(),
      zeroPoints: z.array(z.enum(["int", "float", "minimum"])).optional(),
      symmetric: z.boolean().optional(),
    }),
    after: z.array(kebab).optional(),
    conflicts: z.array(kebab).optional(),
    transforms: z.boolean().optional(),
    error: z.strictObject({ of: z.enum(["weights", "outputs"]), factor: z.number().positive() })
      .optional(),
    determinism: z.enum(["exact", "seeded"]),
  }),
);

/**
 * Throws `PLUGIN` where a plugin is for another version of the contract, and says which side is the
 * older one.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { checkApiVersion } from "./plugin_manifest.ts";
 * assertThrows(() => checkApiVersion({ name: "new", apiVersion: 2 }), Error, "update lowbit");
 * assertThrows(() => checkApiVersion({ name: "old", apiVersion: 0 }), Error, "update the plugin");
 * ```
 */
export function checkApiVersion({ name, apiVersion }: { name: string; apiVersion: number }): void {
  if (apiVersion === PLUGIN_API_VERSION) return;
  const problem = Number.isSafeInteger(apiVersion)
    ? `is written for version ${apiVersion} of the plugin interface, this is version ` +
      PLUGIN_API_VERSION
    : "does not say which version of the plugin interface it is written for";
  throw new LowbitError("PLUGIN", problem, {
    file: name,
    advice: apiVersion > PLUGIN_API_VERSION
      ? "update lowbit, or use an older version of the plugin"
      : "update the plugin",
  });
}

/**
 * Throws `PLUGIN` where a plugin's version, manifest or hooks are not as the contract says.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { PLUGINS } from "../plugins/mod.ts";
 * import { checkManifest } from "./plugin_manifest.ts";
 * for (const plugin of PLUGINS) checkManifest(plugin);
 * const wrong = { ...PLUGINS[0], quantise: () => {} };
 * assertThrows(() => checkManifest(wrong), Error, 'did you mean "quantize"');
 * ```
 */
export function checkManifest(plugin: { meta: PluginMeta; options: unknown }): void {
  const { meta } = plugin;
  const name = typeof meta?.name === "string" ? meta.name : "plugin";
  if (typeof meta === "object" && meta !== null) checkApiVersion(meta);
  try {
    metaSchema.parse(meta, name);
  } catch (error) {
    if (!(error instanceof LowbitError)) throw error;
    const { problem, field, advice } = error;
    const said = advice?.startsWith("did you mean") ? advice : "see docs/plugins.md";
    throw fail(name, `meta${field ? `.${field}` : ""}`, problem, said);
  }
  const options = plugin.options as { parse?: unknown; jsonSchema?: unknown } | undefined;
  if (typeof options?.parse !== "function" || typeof options.jsonSchema !== "function") {
    throw fail(name, "options", "is no option schema", "make it with `schema`");
  }
  const keys = Object.keys(plugin).filter((key) => key !== "meta" && key !== "options");
  for (const key of keys) {
    if (!(PLUGIN_HOOKS as readonly string[]).includes(key)) {
      const guess = closest(key, PLUGIN_HOOKS);
      const advice = guess ? `did you mean "${guess}"?` : `hooks are ${PLUGIN_HOOKS.join(", ")}`;
      throw fail(name, key, "is no hook", advice);
    }
    const hook = (plugin as unknown as Record<string, unknown>)[key];
    if (hook !== undefined && typeof hook !== "function") {
      throw fail(name, key, "is no function", "a hook is a function of one named object");
    }
  }
  if (keys.length === 0) {
    throw fail(name, undefined, "has no hook", `give it one of ${PLUGIN_HOOKS.join(", ")}`);
  }
}

function fail(file: string, field: string | undefined, problem: string, advice: string) {
  return new LowbitError("PLUGIN", problem, { file, field, advice });
}
