/**
 * Model graphs: an architecture as data. One interpreter (`models/`) runs all of them, and
 * plugins see only names and edges, never a model family.
 *
 * @module
 */

import { z } from "zod";
import {
  nameSchema,
  type Node,
  nodeSchema,
  type Size,
  sizeSchema,
  type When,
  whenSchema,
} from "./graph_nodes.ts";
import { ID_PATTERN } from "./number_format.ts";
import { type Schema, schema } from "./schema.ts";

/** Where a hyperparameter is found in each naming. */
export interface Hyperparameter {
  /**
   * What it is: a positive whole number (the default), a `count` that may be 0, a number that is not negative, or a boolean
   * (0 or 1). A value that is none of them is looked up in `values`.
   */
  type?: "integer" | "count" | "number" | "boolean";
  /** Tensors whose presence makes it 1, where no key is there. */
  present?: { huggingface?: string; gguf?: string };
  /** Numbers that other values stand for: `{ gelu: 1 }`. */
  values?: Record<string, number>;
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
  /** A tensor that has as many rows, where no key is there. */
  rows_of?: { huggingface?: string; gguf?: string };
  /** Its value in GGUF where no key says it: what readers of GGUF take for granted. */
  gguf_value?: number;
  /** It is not written where it has its default value. */
  optional?: boolean;
  /** Its value where the key is missing, by conditions: the first that holds counts. */
  cases?: { when: When; value: number | Size }[];
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
  /** When it is asked for. */
  when?: When;
}

/**
 * How a container stores a parameter that the graph has otherwise. A graph has linears as `[out, in]`,
 * norms as plain gains, and the parts of a fused weight one after the other.
 */
export interface Stored {
  /** Plain weights are stored `[in, out]`; coded ones are not. */
  transposed?: boolean;
  /** The value in the graph is what is stored and this. */
  offset?: number;
  /** The halves of each rotary head are interleaved in the rows; the value is the number of heads. */
  rope_heads?: Size;
  /**
   * Rows lie in groups, each with `runs` of `size` rows; the graph has the first run of all groups,
   * then the second of all, and so on.
   */
  grouped?: { groups: Size; runs: Size[]; size: Size };
  /** The parameter is one slice of a tensor with a further first dimension: the one of its expert. */
  stacked?: Size;
  /** Of the rows of each slice, this part of `of` equal parts. */
  part?: { index: number; of: number };
  /** The shape in the file, of the same elements in the same order. */
  shape?: Size[];
  /** The tensor may be missing. */
  optional?: boolean;
}

/**
 * One parameter: a weight, a norm, an embedding. In a name `{i}` is the block's number and `{e}`
 * that of an expert.
 */
export interface Parameter {
  /** Its name in the graph: `attention.query`. For linears this is the role, used by recipes. */
  name: string;
  /** Its shape; a linear is `[out, in]`. */
  shape: Size[];
  /** The tensor's name in a Hugging Face checkpoint. */
  huggingface: string;
  /** The tensor's name in a GGUF file. */
  gguf: string;
  /** How containers store it, where that differs from the graph. */
  stored?: { huggingface?: Stored; gguf?: Stored };
  /**
   * Another parameter that takes its place where the checkpoint ties them: where the hyperparameter
   * `tied` is 1 in config.json, and where a GGUF file leaves the tensor out.
   */
  tied_to?: string;
  /** The number of experts, where there is one for each; `{e}` is in the names. */
  experts?: Size;
  /**
   * Divisors of rotary frequencies, within the original context or beyond it: from the settings,
   * where there is no such tensor.
   */
  rope_factors?: "short" | "long";
  /** Where it is found in checkpoints of Hugging Face that do not have it under its name. */
  other?: { huggingface: string; stored?: Stored };
  /** When it is there. */
  when?: When;
}

/** A property that some blocks have and others do not: of several rules the first that applies. */
export interface BlockFlag {
  /** A list in config.json with an entry for each block, which has this value. */
  list?: { huggingface: string; is: string | number | boolean };
  /** A list in config.json of the numbers of blocks that do not have it. */
  except?: string;
  /** Blocks from this number on, a hyperparameter. */
  from?: string;
  /** Of every so many blocks, a hyperparameter, the last one. */
  every?: string;
  /** Whether the blocks have it, in turn. */
  repeat?: boolean[];
}

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
  /** When it is there. */
  when?: When;
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
    /** A number in GGUF metadata that is not 0, where several architectures have one name. */
    gguf_has?: string;
  };
  /** Named numbers: `blocks`, `hidden`, `heads`, ... */
  hyperparameters: Record<string, Hyperparameter>;
  /** Properties of blocks, by name, for conditions. */
  flags?: Record<string, BlockFlag>;
  /** What the graph makes: `logits` for the next token (the default), or an `output` for a text. */
  result?: "logits" | "output";
  /** The name of the first parts of Hugging Face names that a checkpoint may leave out. */
  optional_prefix?: string;
  /** What a checkpoint must not ask for. */
  requires: Requirement[];
  /** Tensors that a checkpoint may have and nobody needs; `*` is any run of characters. */
  ignored?: string[];
  /** Settings that are written as they are, beside the hyperparameters. */
  constants?: {
    /** For config.json. */
    huggingface: Record<string, unknown>;
    /** For GGUF metadata, with whole keys. */
    gguf: Record<string, string | number | boolean>;
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

const [size, name, when] = [sizeSchema, nameSchema, whenSchema.optional()];
const keys = z.union([z.string(), z.array(z.string()).min(1)]);

const stored = z.strictObject({
  transposed: z.boolean().optional(),
  offset: z.number().optional(),
  rope_heads: size.optional(),
  grouped: z.strictObject({ groups: size, runs: z.array(size).min(1), size }).optional(),
  stacked: size.optional(),
  part: z.strictObject({ index: z.int().min(0), of: z.int().min(2) }).optional(),
  shape: z.array(size).min(1).max(4).optional(),
  optional: z.boolean().optional(),
});

const parameter = z.strictObject({
  name,
  shape: z.array(size).min(1).max(2),
  huggingface: z.string(),
  gguf: z.string(),
  stored: z.strictObject({ huggingface: stored.optional(), gguf: stored.optional() }).optional(),
  tied_to: name.optional(),
  experts: size.optional(),
  rope_factors: z.enum(["short", "long"]).optional(),
  other: z.strictObject({ huggingface: z.string(), stored: stored.optional() }).optional(),
  when,
});

const flag = z.strictObject({
  list: z.strictObject({
    huggingface: z.string(),
    is: z.union([z.string(), z.number(), z.boolean()]),
  }).optional(),
  except: z.string().optional(),
  from: name.optional(),
  every: name.optional(),
  repeat: z.array(z.boolean()).min(1).optional(),
});

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
    match: z.strictObject({
      huggingface: z.array(z.string()),
      gguf: z.array(z.string()),
      gguf_has: z.string().optional(),
    }),
    hyperparameters: z.record(
      name,
      z.strictObject({
        type: z.enum(["integer", "count", "number", "boolean"]).optional(),
        present: z.strictObject({
          huggingface: z.string().optional(),
          gguf: z.string().optional(),
        }).optional(),
        values: z.record(z.string(), z.number()).optional(),
        huggingface: keys.optional(),
        gguf: keys.optional(),
        rows_of: z.strictObject({
          huggingface: z.string().optional(),
          gguf: z.string().optional(),
        }).optional(),
        gguf_value: z.number().optional(),
        optional: z.boolean().optional(),
        cases: z.array(z.strictObject({
          when: whenSchema,
          value: z.union([z.number(), size]),
        })).optional(),
        default: z.union([z.number(), size]).optional(),
      }),
    ),
    requires: z.array(z.strictObject({
      huggingface: z.string().optional(),
      gguf: z.string().optional(),
      allowed: z.array(z.union([z.string(), z.number(), z.boolean(), z.null()])).default([]),
      equals: size.optional(),
      when,
    })).default([]),
    flags: z.record(name, flag).optional(),
    result: z.enum(["logits", "output"]).optional(),
    optional_prefix: z.string().optional(),
    ignored: z.array(z.string()).optional(),
    constants: z.strictObject({
      huggingface: z.record(z.string(), z.unknown()),
      gguf: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    }).optional(),
    parameters: z.array(parameter),
    block_parameters: z.array(parameter),
    graph: z.strictObject({
      before: z.array(nodeSchema),
      block: z.array(nodeSchema),
      after: z.array(nodeSchema),
    }),
    edges: z.array(z.strictObject({
      id: name,
      from: name,
      to: z.array(name).min(1),
      shared_heads: z.boolean().optional(),
      when,
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
