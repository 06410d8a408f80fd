/**
 * ONNX files: the initializers of the graph, and the nodes that say how codes are meant. Data of
 * tensors, in the file or in files beside it, are not read before they are asked for.
 *
 * @module
 */

import { type ByteSource, PLAIN_BYTES, type PlainType } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { ONNX_NIBBLES, ONNX_TYPES } from "./onnx_types.ts";
import { type WireField, WireReader } from "./protobuf.ts";
import { memorySource } from "./source.ts";
import { elementCount, type PlainPlace } from "./stored.ts";

/** Limits of the reader. */
export const ONNX_LIMITS = {
  /** Initializers and nodes. */
  items: 1_000_000,
  /** Dimensions of a tensor. */
  dimensions: 16,
  /** Bytes of data that are stored as numbers of the protocol, which are read at once. */
  numbers: 1 << 24,
} as const;

/** A node of the graph. */
export interface OnnxNode {
  /** Its operator. */
  op: string;
  /** Its inputs; empty texts for those that are left out. */
  inputs: string[];
  /** Its outputs. */
  outputs: string[];
  /** Its attributes that are whole numbers. */
  ints: Map<string, number>;
}

/** An initializer of two codes a byte; its bytes are among the tensors as uint8. */
export interface Nibbles {
  /** The shape of its codes. */
  shape: number[];
  /** Whether they are INT4; else UINT4. */
  signed: boolean;
}

/** What an ONNX file says. */
export interface OnnxModel {
  /** Those initializers that are codes of 4 bits, by name. */
  nibbles: Map<string, Nibbles>;
  /** The initializers of plain types. */
  tensors: PlainPlace[];
  /** Initializers of other types: name and type number. */
  others: { name: string; type: number }[];
  /** The nodes. */
  nodes: OnnxNode[];
}

/** Opens a file beside the model, by its plain name. */
export type OpenBeside = (name: string) => Promise<ByteSource>;

/**
 * Reads the header of an ONNX file. Errors: `TRUNCATED`, `MALFORMED`, `LIMIT`, `NOT_FOUND` (external
 * data).
 */
export async function readOnnx(source: ByteSource, beside: OpenBeside): Promise<OnnxModel> {
  try {
    return await new Reader(source, beside).model();
  } catch (error) {
    throw error instanceof LowbitError ? error.in(source.name) : error;
  }
}

class Reader {
  readonly #wire: WireReader;
  readonly #files = new Map<string, Promise<ByteSource>>();
  readonly #nibbles = new Map<string, Nibbles>();

  constructor(private readonly source: ByteSource, private readonly beside: OpenBeside) {
    this.#wire = new WireReader(source);
  }

  async model(): Promise<OnnxModel> {
    const model: OnnxModel = { tensors: [], others: [], nodes: [], nibbles: this.#nibbles };
    const names = new Set<string>();
    let graphs = 0;
    for await (const field of this.#wire.fields(0, this.source.size)) {
      if (field.number !== 7) continue;
      if (++graphs > 1) throw new LowbitError("MALFORMED", "has two graphs");
      for await (const part of this.#wire.fields(field.start, field.start + field.length)) {
        if (model.nodes.length + names.size > ONNX_LIMITS.items) {
          throw new LowbitError("LIMIT", `has more than ${ONNX_LIMITS.items} nodes and tensors`);
        }
        if (part.number === 1) model.nodes.push(await this.#node(part));
        if (part.number !== 5) continue;
        const tensor = await this.#tensor(part);
        if (names.has(tensor.name)) {
          throw new LowbitError("MALFORMED", "the initializer occurs twice", {
            field: tensor.name,
          });
        }
        names.add(tensor.name);
        if ("source" in tensor) model.tensors.push(tensor);
        else model.others.push(tensor);
      }
    }
    if (graphs === 0) throw new LowbitError("MALFORMED", "has no graph, so it is no ONNX model");
    return model;
  }

  async #node(part: WireField): Promise<OnnxNode> {
    const node: OnnxNode = { op: "", inputs: [], outputs: [], ints: new Map() };
    for await (const field of this.#wire.fields(part.start, part.start + part.length)) {
      if (field.number === 1) node.inputs.push(await this.#wire.text(field));
      if (field.number === 2) node.outputs.push(await this.#wire.text(field));
      if (field.number === 4) node.op = await this.#wire.text(field);
      if (field.number !== 5) continue;
      let name = "";
      let value: number | undefined;
      for await (const inner of this.#wire.fields(field.start, field.start + field.length)) {
        if (inner.number === 1) name = await this.#wire.text(inner);
        if (inner.number === 3 && inner.value !== undefined) {
          value = Number(BigInt.asIntN(64, inner.value));
        }
      }
      if (value !== undefined) node.ints.set(name, value);
    }
    return node;
  }

  async #tensor(part: WireField): Promise<PlainPlace | { name: string; type: number }> {
    const dims: bigint[] = [];
    const external = new Map<string, string>();
    const numbers: WireField[] = [];
    let [number, name, location] = [0, "", 0n];
    let raw: WireField | undefined;
    for await (const field of this.#wire.fields(part.start, part.start + part.length)) {
      if (field.number === 1) {
        dims.push(...await this.#wire.numbers(field, ONNX_LIMITS.dimensions));
      } else if (field.number === 2) number = Number(field.value ?? 0n);
      else if (field.number === 8) name = await this.#wire.text(field);
      else if (field.number === 9) raw = field;
      else if (field.number === 13) {
        const [key, value] = await this.#pair(field);
        external.set(key, value);
      } else if (field.number === 14) location = field.value ?? 0n;
      else if ([4, 5, 7, 10, 11].includes(field.number)) numbers.push(field);
    }
    const fail = (code: "MALFORMED" | "LIMIT" | "TRUNCATED", problem: string) =>
      new LowbitError(code, problem, { field: name });
    if (dims.length > ONNX_LIMITS.dimensions) {
      throw fail("LIMIT", `has ${dims.length} dimensions, more than ${ONNX_LIMITS.dimensions}`);
    }
    const halves = number === ONNX_NIBBLES.INT4 || number === ONNX_NIBBLES.UINT4;
    const type = halves ? "uint8" : ONNX_TYPES.get(number);
    if (!type) return { name, type: number };
    let elements = 1n;
    for (const size of dims) {
      elements *= size;
      if (elements > BigInt(2 ** 48)) throw fail("LIMIT", `its shape [${dims}] is too large`);
    }
    const codes = dims.map(Number);
    if (halves) this.#nibbles.set(name, { shape: codes, signed: number === ONNX_NIBBLES.INT4 });
    const shape = halves ? [Math.ceil(elementCount(codes) / 2)] : codes;
    const bytes = Math.ceil(elementCount(shape) * PLAIN_BYTES[type]);
    const place = { name, type, shape };
    if (location === 1n) return { ...place, ...await this.#external(name, external, bytes) };
    if (raw) {
      if (raw.length !== bytes) {
        throw fail("MALFORMED", `has ${raw.length} bytes of data, but ${type} [${shape}] ${bytes}`);
      }
      return { ...place, source: this.source, offset: raw.start };
    }
    const data = await this.#numbers(name, type, numbers, bytes);
    return { ...place, source: memorySource(this.source.name, data), offset: 0 };
  }

  async #pair(part: WireField): Promise<[string, string]> {
    const pair: [string, string] = ["", ""];
    for await (const field of this.#wire.fields(part.start, part.start + part.length)) {
      if (field.number === 1) pair[0] = await this.#wire.text(field);
      if (field.number === 2) pair[1] = await this.#wire.text(field);
    }
    return pair;
  }

  async #external(
    field: string,
    external: ReadonlyMap<string, string>,
    bytes: number,
  ): Promise<{ source: ByteSource; offset: number }> {
    const file = external.get("location") ?? "";
    const [offset, length] = [external.get("offset") ?? "0", external.get("length")];
    // deno-lint-ignore no-control-regex
    const plain = /^[^/\\:%\u0000-\u001f]{1,255}$/.test(file) && file !== "." && file !== "..";
    if (!plain) {
      throw new LowbitError("MALFORMED", `its data are in ${JSON.stringify(file.slice(0, 200))}`, {
        field,
        advice: "external data must be in a file beside the model",
      });
    }
    if (!/^\d{1,15}$/.test(offset) || (length !== undefined && Number(length) !== bytes)) {
      throw new LowbitError(
        "MALFORMED",
        `has ${length} bytes of data from ${offset}, not ${bytes}`,
        {
          field,
        },
      );
    }
    if (!this.#files.has(file)) this.#files.set(file, this.beside(file));
    const source = await this.#files.get(file)!;
    if (Number(offset) + bytes > source.size) {
      throw new LowbitError(
        "TRUNCATED",
        `its data end at byte ${Number(offset) + bytes} of ${file}, which has ${source.size}`,
        { field, advice: "copy or download the file again" },
      );
    }
    return { source, offset: Number(offset) };
  }

  /** Data as numbers of the protocol: small tensors of some writers. */
  async #numbers(
    name: string,
    type: PlainType,
    fields: readonly WireField[],
    bytes: number,
  ): Promise<Uint8Array> {
    const total = fields.reduce((sum, field) => sum + field.length, 0);
    if (bytes > ONNX_LIMITS.numbers || total > ONNX_LIMITS.numbers) {
      throw new LowbitError("LIMIT", `has ${total} bytes of numbers`, { field: name });
    }
    const size = PLAIN_BYTES[type];
    const out = new Uint8Array(bytes);
    const view = new DataView(out.buffer);
    let at = 0;
    const short = () =>
      new LowbitError("MALFORMED", `has no data for its ${bytes} bytes`, { field: name });
    for (const field of fields) {
      const fixed = field.number === 4 || field.number === 10;
      if (fixed) {
        const part = await this.#wire.bytes(field.start, field.length, ONNX_LIMITS.numbers);
        if (at + part.length > bytes) throw short();
        out.set(part, at);
        at += part.length;
        continue;
      }
      for (const value of await this.#wire.numbers(field, bytes)) {
        if (at + size > bytes || size < 1) throw short();
        const low = BigInt.asUintN(8 * size, value);
        if (size === 8) view.setBigUint64(at, low, true);
        else if (size === 4) view.setUint32(at, Number(low), true);
        else if (size === 2) view.setUint16(at, Number(low), true);
        else view.setUint8(at, Number(low));
        at += size;
      }
    }
    if (at !== bytes) throw short();
    return out;
  }
}
