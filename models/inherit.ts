/**
 * Architectures that are another one with changes, and the parts of an architecture that one model
 * has.
 *
 * @module
 */

import {
  type Architecture,
  type BlockFlag,
  type Edge,
  type Hyperparameters,
  LowbitError,
  type Node,
  type When,
} from "../spec/mod.ts";
import { settingList, type Settings } from "./hyperparameters.ts";

type Document = Record<string, unknown>;

/**
 * A document with what it takes from the one that it `extends`: records are merged by their keys,
 * lists of parameters by `name`, requirements by their keys, edges by `id`; anything else takes the
 * place of the other's. What `without` names is left out.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { inherit } from "./inherit.ts";
 * const base = { id: "a", summary: "A", requires: [{ huggingface: "bias", allowed: [false] }] };
 * const made = inherit({ id: "b", extends: "a", without: ["bias"] }, [base]);
 * assertEquals(made, { id: "b", summary: "A", requires: [] });
 * ```
 */
export function inherit(document: unknown, among: readonly unknown[]): unknown {
  const { extends: id, without = [], ...own } = document as Document;
  if (id === undefined) return document;
  const base = among.find((other) => (other as Document).id === id);
  if (base === undefined || base === document) {
    throw new LowbitError("UNKNOWN_NAME", `extends ${JSON.stringify(id)}, which is unknown`, {
      file: String(own.id),
      field: "extends",
    });
  }
  return merge(inherit(base, among) as Document, own, without as string[]);
}

function merge(base: Document, own: Document, without: readonly string[]): Document {
  const result: Document = {};
  for (const key of new Set([...Object.keys(base), ...Object.keys(own)])) {
    if (without.includes(key)) continue;
    const [a, b] = [base[key], own[key]];
    if (isRecord(a) && isRecord(b) && !("op" in b)) result[key] = merge(a, b, without);
    else if (Array.isArray(a) && (b === undefined || Array.isArray(b))) {
      result[key] = mergeLists(a, b as unknown[] | undefined, without);
    } else result[key] = b === undefined ? a : b;
  }
  return result;
}

function mergeLists(a: unknown[], b: unknown[] | undefined, without: readonly string[]): unknown[] {
  const keys = (item: unknown) =>
    isRecord(item) && !("op" in item)
      ? [item.name, item.id, item.huggingface, item.gguf].filter((key) => typeof key === "string")
      : [];
  const named = a.every((item) => keys(item).length > 0);
  if (!named) return b ?? a;
  const kept = a.filter((item) => !keys(item).some((key) => without.includes(key as string)));
  const merged = kept.map((item) => {
    const other = b?.find((own) => keys(own)[0] === keys(item)[0]);
    return other === undefined ? item : { ...item as Document, ...other as Document };
  });
  const added = b?.filter((own) => !kept.some((item) => keys(item)[0] === keys(own)[0])) ?? [];
  return [...merged, ...added];
}

function isRecord(value: unknown): value is Document {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * What is left of an architecture under the boolean hyperparameters of one model; conditions on flags
 * of blocks stay.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { architectures } from "./architecture.ts";
 * import { specialize } from "./inherit.ts";
 * const llama = architectures().find(({ id }) => id === "llama")!;
 * const names = (attention_bias: number) =>
 *   specialize(llama, { attention_bias }).block_parameters.map(({ name }) => name);
 * assertEquals(names(0).includes("query.bias"), false);
 * assertEquals(names(1).includes("query.bias"), true);
 * ```
 */
export function specialize(
  architecture: Architecture,
  hyperparameters: Hyperparameters,
): Architecture {
  const keep = ({ when }: { when?: When }) => holds(when, hyperparameters);
  const { parameters, block_parameters, graph, edges, requires } = architecture;
  return {
    ...architecture,
    parameters: parameters.filter(keep),
    block_parameters: block_parameters.filter(keep),
    graph: {
      before: graph.before.filter(keep),
      block: graph.block.filter(keep),
      after: graph.after.filter(keep),
    },
    edges: edges.filter(keep),
    requires: requires.filter(keep),
  };
}

/** Whether all conditions hold; those on names that are not known count as held. */
function holds(when: When | undefined, known: Readonly<Record<string, number>>): boolean {
  if (when === undefined) return true;
  return [when].flat().every((condition) => {
    const name = condition.replace(/^!/, "");
    if (!Object.hasOwn(known, name)) return true;
    return (known[name] !== 0) !== condition.startsWith("!");
  });
}

/** What one block of a model has of the architecture. */
export interface BlockGraph {
  /** Whether something with this condition is in the block. */
  has(item: { when?: When }): boolean;
  /** The operations. */
  nodes: readonly Node[];
  /** The edges. */
  edges: readonly Edge[];
}

/**
 * What each block of a model has, by the flags of the architecture.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { architectures } from "./architecture.ts";
 * import { blockGraphs } from "./inherit.ts";
 * const llama = architectures().find(({ id }) => id === "llama")!;
 * const settings = { name: "m", naming: "huggingface" as const, config: {} };
 * assertEquals(blockGraphs(llama, { blocks: 2 }, settings).length, 2);
 * ```
 */
export function blockGraphs(
  { flags = {}, graph, edges, id }: Architecture,
  hyperparameters: Hyperparameters,
  settings: Settings,
): BlockGraph[] {
  return Array.from({ length: hyperparameters.blocks }, (_, block) => {
    const known: Record<string, number> = {};
    for (const [name, flag] of Object.entries(flags)) {
      known[name] = flagOf(flag, block, hyperparameters, settings, `${id}: flags.${name}`) ? 1 : 0;
    }
    const has = ({ when }: { when?: When }) => holds(when, known);
    return { has, nodes: graph.block.filter(has), edges: edges.filter(has) };
  });
}

function flagOf(
  { list, except, from, every, repeat }: BlockFlag,
  block: number,
  hyperparameters: Hyperparameters,
  settings: Settings,
  place: string,
): boolean {
  const listed = list && settingList(settings, list.huggingface);
  if (listed) {
    if (listed.length >= hyperparameters.blocks) return listed[block] === list!.is;
    throw new LowbitError("SCHEMA", `has ${listed.length} entries`, {
      file: settings.name,
      field: list!.huggingface,
      advice: `the model has ${hyperparameters.blocks} blocks`,
    });
  }
  if (except && settingList(settings, except)?.includes(block)) return false;
  const value = (name: string) => {
    if (Object.hasOwn(hyperparameters, name)) return hyperparameters[name];
    throw new LowbitError("SCHEMA", `unknown name ${JSON.stringify(name)}`, { file: place });
  };
  if (from !== undefined && block < value(from)) return false;
  if (every !== undefined) return (block + 1) % value(every) === 0;
  return repeat === undefined ? true : repeat[block % repeat.length];
}
