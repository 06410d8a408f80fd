/**
 * Online transforms: what the blocks of a checkpoint do beyond their architecture, as operations of
 * the graph and parameters like all others.
 *
 * @module
 */

import {
  type Architecture,
  LowbitError,
  type Node,
  type OnlineTransform,
  type Parameter,
  type Size,
} from "../spec/mod.ts";
import { inputsOf, valuesBetween } from "./values.ts";

/**
 * The name of the parameter that is added to a value.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { biasName } from "./online.ts";
 * assertEquals(biasName("query"), "query.bias");
 * ```
 */
export function biasName(value: string): string {
  return `${value}.bias`;
}

/**
 * The architecture with transforms in its blocks, each after its value is made. Edges along which
 * channels can no longer be rescaled, because they are mixed in between, are left out.
 * `UNSUPPORTED` for a value that the blocks do not make.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { architectures } from "./architecture.ts";
 * import { extendArchitecture } from "./online.ts";
 * const llama = architectures().find(({ id }) => id === "llama")!;
 * const { graph, edges } = extendArchitecture(llama, [
 *   { op: "hadamard", value: "mlp.down.input", size: 4 },
 * ]);
 * assertEquals(graph.block.length, llama.graph.block.length + 1);
 * assertEquals(edges.some(({ id }) => id === "mlp.down.input"), false);
 * ```
 */
export function extendArchitecture(
  architecture: Architecture,
  transforms: readonly OnlineTransform[],
): Architecture {
  if (transforms.length === 0) return architecture;
  const nodes = [...architecture.graph.block];
  const parameters = [...architecture.block_parameters];
  let edges = architecture.edges;
  for (const transform of transforms) {
    const { value } = transform;
    const makers = nodes.filter((node) => node.out === value);
    // What is added to the output of a linear is added before anything is done to it in place. Of
    // other operations in place the last makes the value; of alternatives each does.
    const linears = makers.filter(({ op }) => transform.op === "bias" && op === "linear");
    const last = linears.length > 0
      ? linears
      : makers.filter((node, i) =>
        !makers.slice(i + 1).some((later) =>
          inputsOf(later).includes(value) &&
          (later.when === undefined || String(later.when) === String(node.when))
        )
      );
    if (last.length === 0) {
      throw new LowbitError("UNSUPPORTED", `no operation makes the value ${value}`, {
        file: architecture.id,
        field: "transforms",
      });
    }
    for (const node of last) {
      const { when } = node;
      const made = { ...nodeOf(transform), ...(when !== undefined && { when }) };
      nodes.splice(nodes.indexOf(node) + 1, 0, made);
    }
    if (transform.op === "hadamard") {
      edges = edges.filter((edge) => !valuesBetween(nodes, edge).includes(value));
    } else {
      const when = last.length === 1 ? last[0].when : undefined;
      const parameter = biasParameter(architecture, transform.value);
      parameters.push({ ...parameter, ...(when !== undefined && { when }) });
    }
  }
  const graph = { ...architecture.graph, block: nodes };
  return { ...architecture, graph, edges, block_parameters: parameters };
}

function nodeOf(transform: OnlineTransform): Node {
  const { value } = transform;
  return transform.op === "hadamard"
    ? { op: "hadamard", in: value, out: value, size: String(transform.size) }
    : { op: "bias", weight: biasName(value), in: value, out: value };
}

/** The parameter of a bias; tensors of both namings have the same name. */
function biasParameter(architecture: Architecture, value: string): Parameter {
  const name = biasName(value);
  const [first] = architecture.block_parameters;
  const prefix = first.huggingface.slice(0, first.huggingface.indexOf("{i}") + 3);
  const tensor = `${prefix}.${name}`;
  return { name, shape: [widthOf(architecture, value)], huggingface: tensor, gguf: tensor };
}

/** Channels of a value: those that a linear makes or reads. */
function widthOf({ id, graph, block_parameters }: Architecture, value: string): Size {
  for (const node of graph.block) {
    if (node.op !== "linear") continue;
    const { shape } = block_parameters.find(({ name }) => name === node.weight)!;
    if (node.out === value) return shape[0];
    if (inputsOf(node).includes(value)) return shape[1];
  }
  throw new LowbitError("UNSUPPORTED", `no linear makes or reads the value ${value}`, {
    file: id,
    field: "transforms",
  });
}
