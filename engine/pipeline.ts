/**
 * From a recipe and plugins to a pipeline: names looked up, options parsed, schemes resolved and
 * refined by `plan` hooks. What does not fit together is collected, not thrown one by one.
 *
 * @module
 */

import {
  checkApiVersion,
  type Codecs,
  type Kernels,
  type LinearInfo,
  type LinearSchemes,
  LowbitError,
  type Plugin,
  type PluginContext,
  type Recipe,
  refusesTail,
  type ResolvedScheme,
  selects,
  type StatisticName,
  tiling,
  unknownName,
  type VectorFormat,
  vectorMisfit,
} from "../spec/mod.ts";
import { assignSchemes, resolveParts } from "./assign.ts";
import { seededRng } from "./rng.ts";

/** One step of a pipeline: a plugin with its checked options. */
export interface PipelineStep {
  /** The plugin. */
  plugin: Plugin;
  /** What its hooks are given. */
  context: PluginContext;
  /** Whether it works on a linear. */
  selects(linear: LinearInfo): boolean;
}

/** Why a recipe cannot be run; see {@linkcode Plan}. */
export interface Conflict {
  /** A short name of the rule. */
  code: string;
  /** The tensor, step or option. */
  where: string;
  /** What is wrong. */
  problem: string;
  /** What to do. */
  advice: string;
}

/** A recipe that has been looked up for one model. */
export interface Pipeline {
  /** The recipe. */
  recipe: Recipe;
  /** The steps, in order. */
  steps: PipelineStep[];
  /** The schemes of every linear, by id; linears without any are not in it. */
  schemes: Map<string, LinearSchemes>;
  /** The step that quantises each weight, by the linear's id. */
  quantizers: Map<string, PipelineStep>;
  /** Statistics that some step needs of a linear. */
  statistics(linear: LinearInfo): Set<StatisticName>;
  /** Whether inputs of some linear have static scales. */
  hasStatic: boolean;
  /** Whether mean squares of inputs are collected, for quantisers that weigh errors by them. */
  collectsImportance: boolean;
  /** Whether any step needs calibration data. */
  needsCalibration: boolean;
  /** Whether weights are quantised one at a time, as no step looks at a block. */
  streams: boolean;
  /** What does not fit together. */
  conflicts: Conflict[];
}

/** What a pipeline is made from. */
export interface PipelineArguments {
  /** The recipe. */
  recipe: Recipe;
  /** The plugins that the host offers. */
  plugins: readonly Plugin[];
  /** The linears of the model. */
  linears: readonly LinearInfo[];
  /** The embedding as a matrix, and whether the head shares it. */
  embedding?: LinearInfo;
  /** Whether the head shares the weight of the embedding. */
  tied?: boolean;
  /** Whether an importance matrix is given, so that none is collected. */
  importanceGiven?: boolean;
  /** For contexts. */
  kernels: Kernels;
  /** For contexts, and to look up schemes. */
  codecs: Codecs;
  /** Takes what plugins want the user to know. */
  onWarning(message: string): void;
}

/**
 * Compiles a recipe. Unknown plugins, bad options and unknown schemes are errors at once; rules
 * between schemes, plugins and tensors come back as `conflicts`.
 */
export function compilePipeline(args: PipelineArguments): Pipeline {
  const { recipe, linears } = args;
  const steps = recipe.pipeline.map((step, index) => compileStep(args, step, index));
  const schemes = assignSchemes(args);
  for (const { plugin, context } of steps) {
    const refined = plugin.plan?.({ context, linears, schemes });
    for (const [id, references] of refined ?? []) {
      if (!linears.some((linear) => linear.id === id)) throw unknownLinear(plugin, id);
      schemes.set(id, { ...schemes.get(id), ...resolveParts(args.codecs, references) });
    }
  }
  const quantizers = new Map<string, PipelineStep>();
  const conflicts = [...stepConflicts(steps), ...unusedPatterns(recipe, linears)];
  const table = args.embedding && schemes.has(args.embedding.id) ? [args.embedding] : [];
  for (const linear of [...linears, ...table]) {
    const { weight: scheme, vector, activation } = schemes.get(linear.id) ?? {};
    if (activation) conflicts.push(...schemeConflicts(linear, activation, "activation"));
    if (!scheme && !vector) continue;
    if (scheme) conflicts.push(...schemeConflicts(linear, scheme, "weight"));
    const hook = vector ? "quantizeVector" : "quantize";
    const working = steps.filter((step) => step.selects(linear));
    const claims = working.filter((step) => step.plugin[hook]);
    if (claims.length === 1) quantizers.set(linear.id, claims[0]);
    else if (vector && claims.length === 0) conflicts.push(vectorClaim(linear, vector));
    else conflicts.push(claimConflict(linear, claims));
    if (vector) conflicts.push(...vectorConflicts(linear, vector, working));
    const learners = working.filter(({ plugin }) => plugin.learn || plugin.learnModel);
    for (const { plugin } of scheme ? [...claims, ...learners] : []) {
      conflicts.push(...supportConflicts(linear, scheme!, plugin));
    }
  }
  const collectsImportance = recipe.importance === true && !args.importanceGiven;
  const isStatic = (id: string) => schemes.get(id)?.activation?.timing === "static";
  const statistics = (linear: LinearInfo) =>
    new Set([
      ...steps.filter((s) => s.selects(linear)).flatMap((s) => s.plugin.meta.needs.statistics),
      ...(isStatic(linear.id) ? ["moments" as const] : []),
      ...(collectsImportance ? ["mean_square" as const] : []),
    ]);
  const hasStatic = linears.some(({ id }) => isStatic(id));
  const needsCalibration = hasStatic || collectsImportance ||
    steps.some(({ plugin }) =>
      plugin.meta.needs.statistics.length > 0 || plugin.collect !== undefined ||
      plugin.learn !== undefined || plugin.learnModel !== undefined ||
      plugin.planLosses !== undefined ||
      // Transforms are proven on a window.
      plugin.transform !== undefined
    );
  // Compensation may add a bias, which is a parameter of the block.
  const streams = !needsCalibration && !steps.some(({ plugin }) => plugin.compensate);
  return {
    ...{ recipe, steps, schemes, quantizers, statistics, conflicts },
    ...{ hasStatic, collectsImportance, needsCalibration, streams },
  };
}

function compileStep(
  args: PipelineArguments,
  step: Recipe["pipeline"][number],
  index: number,
): PipelineStep {
  const { recipe, plugins } = args;
  const field = `pipeline.${index}`;
  const plugin = plugins.find((p) => p.meta.name === step.use);
  if (!plugin) {
    throw unknownName("plugin", step.use, plugins.map((p) => p.meta.name), {
      file: recipe.name,
      field: `${field}.use`,
    });
  }
  return {
    plugin,
    context: pluginContext(args, plugin, step.options, `${recipe.name}: ${field}.options`),
    selects: (linear) => step.select === undefined || selects(step.select, linear),
  };
}

/** The context of a plugin's hooks, with its options parsed. */
export function pluginContext(
  args: Omit<PipelineArguments, "plugins" | "linears" | "recipe"> & { recipe: { seed: number } },
  plugin: Plugin,
  options: unknown,
  place: string,
): PluginContext {
  checkApiVersion(plugin.meta);
  const { name } = plugin.meta;
  return {
    options: plugin.options.parse(options, place) as Readonly<unknown>,
    rng: (label) => seededRng(`${args.recipe.seed}/${name}/${label}`),
    kernels: args.kernels,
    codecs: args.codecs,
    warn: (message) => args.onWarning(`${name}: ${message}`),
  };
}

function unknownLinear(plugin: Plugin, id: string): LowbitError {
  return new LowbitError("PLUGIN", `plans a scheme for ${JSON.stringify(id)}, which is no linear`, {
    file: plugin.meta.name,
    advice: "report it to the author of the plugin",
  });
}

function* unusedPatterns(recipe: Recipe, linears: readonly LinearInfo[]): Generator<Conflict> {
  const roles = [...new Set(linears.map((linear) => linear.role))].join(", ");
  for (const [index, { select, blocks }] of recipe.assign.entries()) {
    // What refines a rule for some blocks may be of a role that only some models have.
    if (blocks) continue;
    for (const pattern of select) {
      if (linears.some((linear) => selects([pattern], linear))) continue;
      yield {
        code: "SELECT",
        where: `assign.${index}.select`,
        problem: `${JSON.stringify(pattern)} matches no linear of this model`,
        advice: `its roles are ${roles}`,
      };
    }
  }
}

function* stepConflicts(steps: PipelineStep[]): Generator<Conflict> {
  const names = steps.map((step) => step.plugin.meta.name);
  for (const [index, { plugin }] of steps.entries()) {
    const { name, after = [], conflicts = [] } = plugin.meta;
    for (const other of after) {
      if (names.indexOf(other, index + 1) < 0) continue;
      yield {
        code: "ORDER",
        where: `pipeline.${index}`,
        problem: `${name} must come after ${other}`,
        advice: "change the order of the pipeline",
      };
    }
    for (const other of conflicts.filter((other) => names.includes(other))) {
      yield {
        code: "EXCLUSIVE",
        where: `pipeline.${index}`,
        problem: `${name} cannot be combined with ${other}`,
        advice: `leave out one of the two`,
      };
    }
  }
}

function claimConflict(linear: LinearInfo, claims: PipelineStep[]): Conflict {
  const names = claims.map((step) => step.plugin.meta.name);
  return {
    code: "CLAIM",
    where: linear.id,
    problem: claims.length === 0
      ? "has a weight scheme, but no plugin quantises it"
      : `is claimed by ${names.join(" and ")}`,
    advice: claims.length === 0
      ? "add a plugin that quantises, such as rtn"
      : "give the steps a select, so that one of them is left",
  };
}

function vectorClaim(linear: LinearInfo, { id }: VectorFormat): Conflict {
  return {
    code: "CLAIM",
    where: linear.id,
    problem: `is to be in the vector format ${id}, but no plugin quantises to it`,
    advice: "add a plugin that does, such as rtn",
  };
}

function* vectorConflicts(
  linear: LinearInfo,
  format: VectorFormat,
  steps: readonly PipelineStep[],
): Generator<Conflict> {
  const where = linear.id;
  const misfit = vectorMisfit(format, linear.rows, linear.columns);
  if (misfit) {
    const problem = `${format.id}: ${misfit.problem}`;
    yield { code: "SHAPE", where, problem, advice: misfit.advice! };
  }
  for (const { plugin: { meta, quantizeVector, compensate } } of steps) {
    const { vectors } = meta.supports;
    if (quantizeVector && vectors && !vectors.includes(format.family)) {
      yield {
        code: "SUPPORT",
        where,
        problem: `${meta.name} does not support vector formats of the family ${format.family}`,
        advice: `it supports ${vectors.join(", ")}`,
      };
    }
    if (compensate) {
      yield {
        code: "SUPPORT",
        where,
        problem: `${meta.name} does not compensate weights in vector formats`,
        advice: "give the step a select that leaves them out",
      };
    }
  }
}

function* schemeConflicts(
  linear: LinearInfo,
  scheme: ResolvedScheme,
  part: "weight" | "activation",
): Generator<Conflict> {
  const rows = part === "weight" ? linear.rows : 1;
  const tiles = tiling(scheme.granularity, rows, linear.columns);
  const { tileColumns } = tiles;
  if (refusesTail(scheme, tiles)) {
    yield {
      code: "TAIL",
      where: `${linear.id} (${part})`,
      problem: `${linear.columns} input channels are not a multiple of ${tileColumns}, which ` +
        `${scheme.id} asks for`,
      advice: "choose a group size that divides, or a scheme with tail: short",
    };
  }
  const { kind } = scheme.granularity;
  if (part === "activation" && scheme.timing === "static" && (kind !== "tensor" || scheme.range)) {
    yield {
      code: "STATIC",
      where: `${linear.id} (${part})`,
      problem: `${scheme.id}: static scales are calibrated for the whole range of a tensor only`,
      advice: "use a scheme of granularity tensor without range, or a dynamic one",
    };
  }
  if (part === "activation" && scheme.timing === "static" && linear.block === undefined) {
    yield {
      code: "STATIC",
      where: `${linear.id} (${part})`,
      problem: "calibration does not reach linears outside the blocks",
      advice: "use a dynamic scheme there",
    };
  }
  const kinds = ["token", "group", "tensor", "element"];
  if (part === "activation" && !kinds.includes(scheme.granularity.kind)) {
    yield {
      code: "GRANULARITY",
      where: `${linear.id} (${part})`,
      problem: `${scheme.granularity.kind} is not a granularity of activations`,
      advice: "use token, group, tensor or element",
    };
  }
}

function* supportConflicts(
  linear: LinearInfo,
  scheme: ResolvedScheme,
  plugin: Plugin,
): Generator<Conflict> {
  const { families, granularities, zeroPoints, symmetric } = plugin.meta.supports;
  const unsupported = (problem: string, list: readonly string[]): Conflict => ({
    code: "SUPPORT",
    where: linear.id,
    problem: `${plugin.meta.name} does not support ${problem}`,
    advice: `it supports ${list.join(", ") || "none"}`,
  });
  const { family } = scheme.element;
  if (families && !families.includes(family)) {
    yield unsupported(`elements of the family ${family}`, families);
  }
  const { kind } = scheme.granularity;
  if (granularities && !granularities.includes(kind)) {
    yield unsupported(`the granularity ${kind}`, granularities);
  }
  const zero = scheme.zero_point?.kind;
  if (zero && zeroPoints && !zeroPoints.includes(zero)) {
    yield unsupported(`zero points of the kind ${zero}`, zeroPoints);
  }
  if (!zero && symmetric === false) {
    yield unsupported("schemes without zero points", zeroPoints ?? ["zero points of any kind"]);
  }
}
