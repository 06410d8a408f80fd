/**
 * Model graphs: an architecture as data. One interpreter (`models/`) runs all of them, and
 * plugins see only names and edges, never a model family.
 *
 * @module
 */

import { z } from "zod";
import { ID_PATTERN } from "./number_format.ts";
import { type Schema, schema } from "./schema.ts";

/** A size, as a product or quotient of hyperparameters and whole numbers: `heads*head_size`. */
export type Size = string;

/** Where a hyperparameter is found in each naming. */
export interface Hyperparameter {
  /** What it is: a positive whole number (the default), a number, or a boolean (0 or 1). */
  type?: "integer" | "number" | "boolean";
  /**
   * The key in config.json; a dot goes into an object. Of several keys the first that is there
   * counts, and the first is the one that is written.
   */
  huggingface?: string | string[];
  /**
   * The key in GGUF metadata, after the architecture's prefix (keys that start with `tokenizer.` or
   * `general.` have none); of several the first that is there. An array counts as its length.
   */
  gguf?: string | string[];
  /** Its value where the key is missing: a number, or a {@linkcode Size}. */
  default?: number | Size;
}

/** A setting that this architecture file does not cover unless it has one of these values. */
export interface Requirement {
  /** The key in config.json; a dot goes into an object. */
  huggingface?: string;
  /** The key in GGUF metadata, after the architecture's prefix. */
  gguf?: string;
  /** The values that are covered. A missing key is covered. */
  allowed: (string | number | boolean | null)[];
  /** A size that is covered as well; it is written under this key. */
  equals?: Size;
}

/** One parameter: a weight, a norm, an embedding. `{i}` in a name is the block's number. */
export interface Parameter {
  /** Its name in the graph: `attention.query`. For linears this is the role, used by recipes. */
  name: string;
  /** Its shape; a linear is `[out, in]`. */
  shape: Size[];
  /** The tensor's name in a Hugging Face checkpoint. */
  huggingface: string;
  /** The tensor's name in a GGUF file. */
  gguf: string;
  /**
   * GGUF stores the rows of this weight with the halves of each rotary head interleaved; the value
   * is the number of heads.
   */
  gguf_rope_heads?: Size;
  /**
   * Another parameter that takes its place where the checkpoint ties them: where the hyperparameter
   * `tied` is 1 in config.json, and where a GGUF file leaves the tensor out.
   */
  tied_to?: string;
}

/**
 * One operation of the graph; names of values are free, `x` is the residual stream and `logits` the
 * result. Norms use the hyperparameter `epsilon`, rotary embeddings `theta` and `head_size`,
 * attention `heads`, `kv_heads` and `head_size`.
 */
export type Node =
  | { op: "embed"; weight: string; out: string }
  | { op: "rms_norm"; weight: string; in: string; out: string }
  | { op: "linear"; weight: string; in: string; out: string }
  | { op: "rope"; in: string; out: string; heads: Size }
  | { op: "attention"; query: string; key: string; value: string; out: string }
  | { op: "silu_gate"; gate: string; up: string; out: string }
  | { op: "add"; in: [string, string]; out: string }
  | { op: "bias"; weight: string; in: string; out: string }
  | { op: "hadamard"; in: string; out: string; size: Size };

/**
 * Where channels can be rescaled without changing the model: dividing the output channels of
 * `from` and multiplying the input channels of every `to` by the same factors.
 */
export interface Edge {
  /** The name of the edge: `attention.input`. */
  id: string;
  /** The parameter that produces the channels: a norm's weight, or the rows of a linear. */
  from: string;
  /** The linears that consume them. */
  to: string[];
  /** For value to output under grouped-query attention: channels are shared between heads. */
  shared_heads?: boolean;
}

/** An architecture. */
export interface Architecture {
  /** The catalog id. */
  id: string;
  /** One line: what it covers. */
  summary: string;
  /** How its checkpoints are recognised. */
  match: {
    /** Values of `model_type` in config.json. */
    huggingface: string[];
    /** Values of `general.architecture` in GGUF. */
    gguf: string[];
  };
  /** Named numbers: `blocks`, `hidden`, `heads`, ... */
  hyperparameters: Record<string, Hyperparameter>;
  /** What a checkpoint must not ask for. */
  requires: Requirement[];
  /** Tensors that a checkpoint may have and nobody needs; `*` is any run of characters. */
  ignored?: string[];
  /** Settings that are written as they are, beside the hyperparameters. */
  constants?: {
    /** For config.json. */
    huggingface: Record<string, unknown>;
    /** For GGUF metadata, with whole keys. */
    gguf: Record<string, string>;
  };
  /** Parameters outside the blocks. */
  parameters: Parameter[];
  /** Parameters of each block. */
  block_parameters: Parameter[];
  /** Operations before the blocks, of a block, and after the blocks. */
  graph: { before: Node[]; block: Node[]; after: Node[] };
  /** Edges inside a block. */
  edges: Edge[];
}

const size = z.string().regex(/^[a-z0-9_]+([*/][a-z0-9_]+)*$/, "must be a product of names");
const name = z.string().regex(/^[a-z][a-z0-9_.]*$/);
const keys = z.union([z.string(), z.array(z.string()).min(1)]);

const parameter = z.strictObject({
  name,
  shape: z.array(size).min(1).max(2),
  huggingface: z.string(),
  gguf: z.string(),
  gguf_rope_heads: size.optional(),
  tied_to: name.optional(),
});

const node: z.ZodType<Node> = z.discriminatedUnion("op", [
  z.strictObject({ op: z.literal("embed"), weight: name, out: name }),
  z.strictObject({ op: z.literal("rms_norm"), weight: name, in: name, out: name }),
  z.strictObject({ op: z.literal("linear"), weight: name, in: name, out: name }),
  z.strictObject({ op: z.literal("rope"), in: name, out: name, heads: size }),
  z.strictObject({ op: z.literal("attention"), query: name, key: name, value: name, out: name }),
  z.strictObject({ op: z.literal("silu_gate"), gate: name, up: name, out: name }),
  z.strictObject({ op: z.literal("add"), in: z.tuple([name, name]), out: name }),
  z.strictObject({ op: z.literal("bias"), weight: name, in: name, out: name }),
  z.strictObject({ op: z.literal("hadamard"), in: name, out: name, size }),
]);

/**
 * Checks an architecture read from YAML.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { LowbitError } from "./errors.ts";
 * import { architectureSchema } from "./graph.ts";
 * const read = () => architectureSchema.parse({ id: "tiny", sumary: "?" }, "tiny.yaml");
 * assertThrows(read, LowbitError, 'tiny.yaml: sumary: unknown field; also');
 * assertThrows(read, LowbitError, 'did you mean "summary"?');
 * ```
 */
export const architectureSchema: Schema<Architecture> = schema(
  "architecture",
  z.strictObject({
    id: z.string().regex(ID_PATTERN),
    summary: z.string().min(1),
    match: z.strictObject({ huggingface: z.array(z.string()), gguf: z.array(z.string()) }),
    hyperparameters: z.record(
      name,
      z.strictObject({
        type: z.enum(["integer", "number", "boolean"]).optional(),
        huggingface: keys.optional(),
        gguf: keys.optional(),
        default: z.union([z.number(), size]).optional(),
      }),
    ),
    requires: z.array(z.strictObject({
      huggingface: z.string().optional(),
      gguf: z.string().optional(),
      allowed: z.array(z.union([z.string(), z.number(), z.boolean(), z.null()])).default([]),
      equals: size.optional(),
    })).default([]),
    ignored: z.array(z.string()).optional(),
    constants: z.strictObject({
      huggingface: z.record(z.string(), z.unknown()),
      gguf: z.record(z.string(), z.string()),
    }).optional(),
    parameters: z.array(parameter),
    block_parameters: z.array(parameter),
    graph: z.strictObject({
      before: z.array(node),
      block: z.array(node),
      after: z.array(node),
    }),
    edges: z.array(z.strictObject({
      id: name,
      from: name,
      to: z.array(name).min(1),
      shared_heads: z.boolean().optional(),
    })),
  }),
);

/** The hyperparameters of one model, by name. */
export type Hyperparameters = Readonly<Record<string, number>>;

/** A linear layer of a model: what recipes select and plugins quantise. */
export interface LinearInfo {
  /** `blocks.3.attention.query`, or `head`. */
  id: string;
  /** The role, the parameter's name in the graph: `attention.query`. */
  role: string;
  /** The block's number; absent outside the blocks. */
  block?: number;
  /** Output channels. */
  rows: number;
  /** Input channels. */
  columns: number;
  /** The name of the value it reads; linears of one block with equal `input` share statistics. */
  input: string;
}
