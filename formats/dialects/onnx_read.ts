/**
 * The weights of an ONNX model: initializers, and those of MatMulNBits as codes with scales.
 *
 * @module
 */

import { type ByteSource, LowbitError } from "../../spec/mod.ts";
import { baseName } from "./folder.ts";
import { type OnnxNode, type OpenBeside, readOnnx } from "../containers/onnx.ts";
import { layout as layoutOf } from "../lookup.ts";
import type { Tools } from "./coded.ts";
import { addNibbles, refuseNibbles } from "./onnx_nibbles.ts";
import type { DirectoryTensors, SafetensorsFile, TensorPart } from "./directory.ts";
import {
  allValues,
  FoundTensors,
  integerScheme,
  packedValues,
  rowValues,
  type Values,
} from "./packed.ts";

/** What is read of an ONNX file: its tensors, and those that are parts of weights. */
export interface OnnxWeights {
  /** The tensors, as a file of them. */
  file: SafetensorsFile;
  /** The weights that nodes put together. */
  find(directory: DirectoryTensors, tools: Tools): FoundTensors;
}

/** Reads the header of an ONNX file. */
export async function onnxWeights(source: ByteSource, beside: OpenBeside): Promise<OnnxWeights> {
  const model = await readOnnx(source, beside);
  const [other] = model.others;
  if (other) {
    throw new LowbitError("UNSUPPORTED", `is a tensor of the ONNX type ${other.type}`, {
      file: source.name,
      field: other.name,
      advice: "write it with weights of 8 bits, or as MatMulNBits",
    });
  }
  return {
    file: { metadata: new Map(), tensors: model.tensors, source },
    find(directory, tools) {
      const found = new FoundTensors();
      const done = new Set<string>();
      const nibbles = new Set(model.nibbles.keys());
      const taken = (node: OnnxNode) => node.inputs.forEach((input) => nibbles.delete(input));
      for (const node of model.nodes) {
        const codes = node.inputs[node.op === "MatMulNBits" ? 1 : 0] ?? "";
        if (done.has(codes)) continue;
        done.add(codes);
        if (node.op === "MatMulNBits") addWeight(found, directory, node, source.name, tools);
        else if (node.op !== "DequantizeLinear") continue;
        else if (!model.nibbles.has(codes)) addRows(found, directory, node, tools);
        else if (addNibbles(found, directory, node, model.nibbles, tools)) taken(node);
      }
      const [left] = nibbles;
      if (left !== undefined) refuseNibbles(left, source.name);
      return found;
    },
  };
}

function addWeight(
  found: FoundTensors,
  directory: DirectoryTensors,
  node: OnnxNode,
  file: string,
  tools: Tools,
): void {
  const [, codesName = "", scalesName = "", zerosName = "", order = ""] = node.inputs;
  const fail = (code: "MALFORMED" | "UNSUPPORTED", problem: string) =>
    new LowbitError(code, problem, { file, field: codesName });
  const size = (name: string, fallback?: number): number => {
    const value = node.ints.get(name) ?? fallback ?? 0;
    if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 31) {
      throw fail("MALFORMED", `its node says ${name} = ${value}`);
    }
    return value;
  };
  const [columns, rows, group] = [size("K"), size("N"), size("block_size")];
  const bits = size("bits", 4);
  if (![2, 4, 8].includes(bits)) throw fail("UNSUPPORTED", `has ${bits} bits`);
  if (order !== "") throw fail("UNSUPPORTED", "has an order of groups");
  if (columns % group !== 0) throw fail("UNSUPPORTED", "has padded blocks");
  const blocks = columns / group;
  const codes = directory.part(codesName, ["uint8"], [rows, blocks, group * bits / 8]);
  const scales = directory.part(scalesName, ["float32", "float16", "bfloat16"]);
  if (scales.bytes !== rows * blocks * (scales.place.type === "float32" ? 4 : 2)) {
    throw fail("MALFORMED", `has scales of the shape [${scales.place.shape}]`);
  }
  const zeros = zerosName ? directory.part(zerosName, ["uint8"]) : undefined;
  if (zeros && zeros.bytes !== rows * Math.ceil(blocks * bits / 8)) {
    throw fail("MALFORMED", `has zero points of the shape [${zeros.place.shape}]`);
  }
  const layout = layoutOf("onnx_matmul_nbits");
  const { type } = scales.place;
  const grid = { rows, columns: blocks, bits };
  const flat = rowValues(scales, type);
  const name = codesName.replace(/_Q\d$/, "");
  found.add({
    name,
    shape: [rows, columns],
    scheme: integerScheme({
      dialect: "onnx",
      bits,
      symmetric: false,
      granularity: { kind: "group", size: group },
      format: type,
      source: "onnxruntime 1.32, docs/ContribOperators.md, com.microsoft.MatMulNBits",
    }),
    layout,
    codes,
    others: zeros ? [scales, zeros] : [scales],
    values: {
      scales: (first, last) =>
        scales.place.shape.length === 1 ? flat(first * blocks, last * blocks) : flat(first, last),
      zeros: zeros
        ? packedValues(zeros, grid, layout, tools)
        : (first, last) =>
          Promise.resolve(new Float32Array((last - first) * blocks).fill(2 ** (bits - 1))),
    },
  }, tools);
}

/** A weight of 8 bits with a scale for each row, or one for all. */
function addRows(
  found: FoundTensors,
  directory: DirectoryTensors,
  node: OnnxNode,
  tools: Tools,
): void {
  const [codesName, scalesName = "", zerosName] = node.inputs;
  const place = directory.place(codesName);
  const scalePlace = directory.place(scalesName);
  // Other products of the operator, as of activations, stay what they are.
  if (!place || place.shape.length !== 2 || !/^u?int8$/.test(place.type)) return;
  if (!scalePlace || (node.ints.get("block_size") ?? 0) > 0) return;
  const [rows, columns] = place.shape;
  const count = scalePlace.shape.reduce((product, size) => product * size, 1);
  const whole = count === 1 && rows !== 1;
  if (!whole && (count !== rows || (node.ints.get("axis") ?? 1) !== 0)) return;
  const symmetric = place.type === "int8";
  if (symmetric === (zerosName !== undefined)) return;
  const codes = directory.part(codesName, [place.type]);
  const scales = directory.part(scalesName, ["float32", "float16", "bfloat16"]);
  const zeros = zerosName ? directory.part(zerosName, [place.type], scales.place.shape) : undefined;
  const read = (part: TensorPart): Values =>
    whole ? allValues(part, part.place.type) : rowValues(part, part.place.type);
  found.add({
    name: codesName.replace(/_quantized$/, ""),
    shape: [rows, columns],
    scheme: integerScheme({
      dialect: "onnx",
      bits: 8,
      symmetric,
      granularity: { kind: whole ? "tensor" : "channel" },
      format: scales.place.type,
      source: "ONNX, Operators.md, DequantizeLinear",
    }),
    layout: layoutOf("bytes"),
    codes,
    others: zeros ? [scales, zeros] : [scales],
    values: {
      scales: read(scales),
      ...(zeros && {
        zeros: async (first: number, last: number) =>
          Float32Array.from(whole ? await zeros.read() : await zeros.read(first, last)),
      }),
    },
  }, tools);
}

/** The file of a folder that is its ONNX model; the folder has no other weights. */
export function onnxFile(names: readonly string[], folder: string): string | undefined {
  const files = names.filter((name) => /\.onnx$/i.test(name));
  if (files.length <= 1) return files[0];
  // transformers.js keeps a model in several precisions; model.onnx is the one that is whole.
  const whole = files.find((name) => baseName(name) === "model.onnx");
  if (whole !== undefined) return whole;
  throw new LowbitError(
    "CONFLICT",
    `has several ONNX files: ${files.slice(0, 5).map(baseName).join(", ")}`,
    { file: folder, advice: "open one of them by its name" },
  );
}
