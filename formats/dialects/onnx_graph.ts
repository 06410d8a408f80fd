/**
 * A Llama-style decoder as nodes of an ONNX graph, with a cache of keys and values, by the names that
 * transformers.js expects of inputs and outputs.
 *
 * @module
 */

import { LowbitError } from "../../spec/mod.ts";
import { type Field, message } from "../containers/protobuf.ts";

/** A small constant of the graph. */
export interface Constant {
  /** Its name. */
  name: string;
  /** Its shape. */
  shape: number[];
  /** Its values. */
  values: Float32Array | BigInt64Array;
}

/** What the graph needs to know of a model. */
export interface DecoderSizes {
  hidden: number;
  blocks: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  epsilon: number;
  theta: number;
  tied: boolean;
}

const FLOAT = 1;
const INT64 = 7;
const BOOL = 9;

/** The sizes in config.json. Errors: `CONFLICT` for what the graph cannot say. */
export function decoderSizes(config: Readonly<Record<string, unknown>>): DecoderSizes {
  const refuse = (field: string, problem: string) =>
    new LowbitError("CONFLICT", problem, {
      file: "config.json",
      field,
      advice: "write it for another target",
    });
  const own = (name: string) => Object.hasOwn(config, name) ? config[name] : undefined;
  const type = own("model_type");
  if (type !== "llama" && type !== "mistral" && type !== "qwen2") {
    throw refuse("model_type", `the onnx target writes Llama-style decoders, not ${type}`);
  }
  const whole = (name: string, fallback?: number): number => {
    const value = own(name) ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
    throw refuse(name, `is ${JSON.stringify(value)}, not a size`);
  };
  const rope = (own("rope_parameters") ?? own("rope_scaling") ?? {}) as Record<string, unknown>;
  const kind = rope.rope_type ?? rope.type ?? "default";
  if (kind !== "default") throw refuse("rope_scaling", `${kind} is not written`);
  const activation = own("hidden_act") ?? "silu";
  if (activation !== "silu") throw refuse("hidden_act", `${activation} is not written`);
  if (own("sliding_window") != null && own("use_sliding_window") !== false) {
    throw refuse("sliding_window", "a sliding window is not written");
  }
  const hidden = whole("hidden_size");
  const heads = whole("num_attention_heads");
  return {
    hidden,
    blocks: whole("num_hidden_layers"),
    heads,
    kvHeads: whole("num_key_value_heads", heads),
    headSize: whole("head_dim", Math.floor(hidden / heads)),
    epsilon: Number(own("rms_norm_eps") ?? 1e-6),
    theta: Number(own("rope_theta") ?? rope.rope_theta ?? 10000),
    tied: own("tie_word_embeddings") === true,
  };
}

/** The nodes, inputs, outputs and constants of a graph as it is built. */
export class GraphBuilder {
  readonly fields: Field[] = [];
  readonly constants: Constant[] = [];
  #next = 0;

  /** Adds a node with one output and returns its name. */
  node(
    op: string,
    inputs: string[],
    attributes: Record<string, number> = {},
    outputs: string[] = [`v${this.#next++}`],
    domain = "",
  ): string {
    const ints = Object.entries(attributes).map(([name, value]): Field => [
      5,
      message([1, name], [3, value], [20, 2]),
    ]);
    this.fields.push([
      1,
      message(
        ...inputs.map((name): Field => [1, name]),
        ...outputs.map((name): Field => [2, name]),
        [3, outputs[0]],
        [4, op],
        ...ints,
        ...(domain ? [[7, domain] as Field] : []),
      ),
    ]);
    return outputs[0];
  }

  /** A constant of f32. */
  floats(values: ArrayLike<number>, shape = [values.length]): string {
    const name = `c${this.constants.length}`;
    this.constants.push({ name, shape, values: Float32Array.from(values) });
    return name;
  }

  /** A constant of whole numbers. */
  ints(values: number[], shape = [values.length]): string {
    const name = `c${this.constants.length}`;
    this.constants.push({ name, shape, values: BigInt64Array.from(values, BigInt) });
    return name;
  }

  /** Declares an input (11) or output (12). */
  value(kind: 11 | 12, name: string, type: number, dims: (number | string)[]): void {
    const shape = message(
      ...dims.map((dim): Field => [1, message(typeof dim === "string" ? [2, dim] : [1, dim])]),
    );
    this.fields.push([kind, message([1, name], [2, message([1, message([1, type], [2, shape])])])]);
  }
}

/** How the weights of the model come into the graph. */
export interface Weights {
  /** Whether there is such a tensor. */
  has(name: string): boolean;
  /** A parameter as f32. */
  value(name: string): string;
  /** The product of an input with a weight `[out, in]`. */
  linear(input: string, name: string): string;
  /** Rows of the embedding, as f32. */
  embed(ids: string, name: string): string;
}

/** Builds the decoder. */
export function buildDecoder(g: GraphBuilder, sizes: DecoderSizes, w: Weights): void {
  const { blocks, heads, kvHeads, headSize, epsilon, theta, tied } = sizes;
  const group = heads / kvHeads;
  const past = "past_sequence_length";
  g.value(11, "input_ids", INT64, ["batch_size", "sequence_length"]);
  g.value(11, "attention_mask", INT64, ["batch_size", "total_sequence_length"]);
  g.value(11, "position_ids", INT64, ["batch_size", "sequence_length"]);
  for (let i = 0; i < blocks; i++) {
    for (const part of ["key", "value"]) {
      const name = `past_key_values.${i}.${part}`;
      g.value(11, name, FLOAT, ["batch_size", kvHeads, past, headSize]);
    }
  }
  g.value(12, "logits", FLOAT, ["batch_size", "sequence_length", "vocabulary"]);
  const zero = g.ints([0], []);
  const one = g.ints([1], []);
  const axis = (n: number) => axes.get(n) ?? (axes.set(n, g.ints([n])), axes.get(n)!);
  const axes = new Map<number, string>();
  const size = (value: string, index: number) =>
    g.node("Gather", [g.node("Shape", [value]), g.ints([index], [])], { axis: 0 });
  const unsqueeze = (value: string, n: number) => g.node("Unsqueeze", [value, axis(n)]);
  const eps = g.floats([epsilon], []);
  const norm = (x: string, weight: string) => {
    const mean = g.node("ReduceMean", [g.node("Mul", [x, x]), lastAxis], { keepdims: 1 });
    const root = g.node("Sqrt", [g.node("Add", [mean, eps])]);
    return g.node("Mul", [g.node("Div", [x, root]), w.value(weight)]);
  };
  const lastAxis = g.ints([-1]);
  const before = size("past_key_values.0.key", 2);
  const total = g.node("Add", [before, size("input_ids", 1)]);
  const keys = unsqueeze(g.node("Range", [zero, total, one]), 0);
  const queries = unsqueeze(g.node("Range", [before, total, one]), 1);
  const causal = g.node("LessOrEqual", [keys, queries]);
  const present = unsqueeze(unsqueeze(g.node("Cast", ["attention_mask"], { to: BOOL }), 1), 1);
  const allowed = unsqueeze(g.node("And", [causal, present]), 1);
  const bias = g.node("Where", [allowed, g.floats([0], []), g.floats([-1e30], [])]);
  const frequencies = Float64Array.from(
    { length: headSize / 2 },
    (_, i) => theta ** (-2 * i / headSize),
  );
  const positions = unsqueeze(g.node("Cast", ["position_ids"], { to: FLOAT }), 2);
  const half = g.node("Mul", [positions, g.floats(frequencies, [1, 1, headSize / 2])]);
  const angles = unsqueeze(g.node("Concat", [half, half], { axis: 2 }), 1);
  const [cos, sin] = [g.node("Cos", [angles]), g.node("Sin", [angles])];
  const rotate = (x: string, id: string) => {
    const parts = [`${id}.low`, `${id}.high`];
    g.node("Split", [x], { axis: 3, num_outputs: 2 }, parts);
    const turned = g.node("Concat", [g.node("Neg", [parts[1]]), parts[0]], { axis: 3 });
    return g.node("Add", [g.node("Mul", [x, cos]), g.node("Mul", [turned, sin])]);
  };
  const perm = (x: string, order: "0213" | "01243") => transpose(g, x, [...order].map(Number));
  const linear = (x: string, module: string) => {
    const y = w.linear(x, `${module}.weight`);
    return w.has(`${module}.bias`) ? g.node("Add", [y, w.value(`${module}.bias`)]) : y;
  };
  const split = (x: string, count: number) =>
    perm(g.node("Reshape", [x, g.ints([0, 0, count, headSize])]), "0213");
  const scale = g.floats([headSize ** -0.5], []);
  const grouped = g.ints([0, kvHeads, group, -1, headSize]);
  const joined = g.ints([0, heads, -1, headSize]);
  const flat = g.ints([0, 0, heads * headSize]);
  let x = w.embed("input_ids", "model.embed_tokens.weight");
  for (let i = 0; i < blocks; i++) {
    const block = `model.layers.${i}`;
    const input = norm(x, `${block}.input_layernorm.weight`);
    const [q, k, v] = ["q", "k", "v"].map((part) =>
      linear(input, `${block}.self_attn.${part}_proj`)
    );
    const query = rotate(split(q, heads), `rope.${i}.query`);
    const key = rotate(split(k, kvHeads), `rope.${i}.key`);
    const [allKeys, allValues] = ([["key", key], ["value", split(v, kvHeads)]] as const).map(
      ([part, value]) => {
        const name = `present.${i}.${part}`;
        g.value(12, name, FLOAT, ["batch_size", kvHeads, "total_sequence_length", headSize]);
        return g.node("Concat", [`past_key_values.${i}.${part}`, value], { axis: 2 }, [name]);
      },
    );
    const q5 = g.node("Mul", [g.node("Reshape", [query, grouped]), scale]);
    const scores = g.node("MatMul", [q5, perm(unsqueeze(allKeys, 2), "01243")]);
    const weights = g.node("Softmax", [g.node("Add", [scores, bias])], { axis: 4 });
    const mixed = g.node("MatMul", [weights, unsqueeze(allValues, 2)]);
    const heads4 = perm(g.node("Reshape", [mixed, joined]), "0213");
    const output = linear(g.node("Reshape", [heads4, flat]), `${block}.self_attn.o_proj`);
    const middle = g.node("Add", [x, output]);
    const inner = norm(middle, `${block}.post_attention_layernorm.weight`);
    const gate = linear(inner, `${block}.mlp.gate_proj`);
    const silu = g.node("Mul", [gate, g.node("Sigmoid", [gate])]);
    const product = g.node("Mul", [silu, linear(inner, `${block}.mlp.up_proj`)]);
    x = g.node("Add", [middle, linear(product, `${block}.mlp.down_proj`)]);
  }
  const last = norm(x, "model.norm.weight");
  const head = tied && !w.has("lm_head.weight") ? "model.embed_tokens.weight" : "lm_head.weight";
  g.node("Identity", [w.linear(last, head)], {}, ["logits"]);
}

/** A transposition, whose attribute is a list. */
export function transpose(g: GraphBuilder, x: string, order: number[]): string {
  const name = `t${g.fields.length}`;
  const list = order.map((value): Field => [8, value]);
  g.fields.push([
    1,
    message([1, x], [2, name], [3, name], [4, "Transpose"], [
      5,
      message([1, "perm"], ...list, [20, 7]),
    ]),
  ]);
  return name;
}

/** The node of a constant. Initializers are for the parameters of the model alone. */
export function constantNode({ name, shape, values }: Constant): Field {
  const tensor = message(
    ...shape.map((size): Field => [1, size]),
    [2, values instanceof Float32Array ? FLOAT : INT64],
    [9, new Uint8Array(values.buffer)],
  );
  const value = message([1, "value"], [5, tensor], [20, 4]);
  return [1, message([2, name], [3, name], [4, "Constant"], [5, value])];
}
