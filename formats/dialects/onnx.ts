/**
 * The target `onnx`: a Llama-style decoder that onnxruntime runs, in a folder as transformers.js has
 * it. Weights in groups become MatMulNBits, by channel or tensor DequantizeLinear.
 *
 * @module
 */

import {
  type Fit,
  LowbitError,
  PLAIN_BYTES,
  type PlannedTensor,
  type QuantizedTensor,
  type ResolvedScheme,
  type Target,
  type TargetArguments,
  type TargetWriter,
} from "../../spec/mod.ts";
import { encodePlain } from "../containers/plain.ts";
import { ONNX_NIBBLES, ONNX_NUMBERS } from "../containers/onnx_types.ts";
import { type Field, fieldStart, message, totalBytes } from "../containers/protobuf.ts";
import { elementCount } from "../containers/stored.ts";
import { layout as layoutOf } from "../lookup.ts";
import { packMatrix } from "../pack.ts";
import {
  checkPlan,
  checkQuantized,
  noVectors,
  plainBytes,
  Plan,
  refuseSide,
  zeroCodes,
} from "./check.ts";
import { withoutQuantization, writeSettings } from "./directory.ts";
import type { TargetTools } from "./lowbit.ts";
import {
  buildDecoder,
  constantNode,
  decoderSizes,
  GraphBuilder,
  transpose,
  type Weights,
} from "./onnx_graph.ts";

/** The largest model that is one file: protocol buffers end at 2 GB. */
const MAX_INLINE = 1_900_000_000;
const OPSET = 21;

/** An initializer that a weight becomes. */
interface Part {
  name: string;
  type: number;
  shape: number[];
  length: number;
  bytes(tensor: QuantizedTensor): Uint8Array;
}

/** Weights in groups of 4 or 8 bits, for the operator MatMulNBits. */
function isBlocked({ granularity, element }: ResolvedScheme): boolean {
  return granularity.kind === "group" && element.family === "int";
}

function problemOf(tensor: PlannedTensor, scheme: ResolvedScheme): [string, string] | undefined {
  const { element, granularity, zero_point, scale } = scheme;
  const advice = "choose integers of 4 or 8 bits in groups of 16 to 256, or by channel";
  if (tensor.activation) return ["onnx writes weights alone", "leave activations as they are"];
  if (!tensor.linear || tensor.shape.length !== 2) {
    return ["is not the weight of a linear", "keep it in full precision"];
  }
  if (scale.rule === "none" || scale.second) return ["onnx has no such scales", advice];
  const float = element.id === "float8_e4m3fn" || element.id === "float8_e5m2";
  const int = element.family === "int" && element.fraction === 0 &&
    (element.bits === 4 || element.bits === 8) && element.signed === !zero_point;
  if (!(int || (float && !zero_point)) || (zero_point && zero_point.kind !== "int")) {
    return [`onnx has no elements of ${element.id} with these zero points`, advice];
  }
  if (granularity.kind === "channel" || granularity.kind === "tensor") return undefined;
  const size = granularity.kind === "group" ? granularity.size : 0;
  if (float || size < 16 || size > 256 || !Number.isInteger(Math.log2(size))) {
    return [`onnx has no blocks of ${granularity.kind} ${size}`, advice];
  }
  if (tensor.shape[1] % size !== 0) {
    return [`its ${tensor.shape[1]} columns are not whole groups of ${size}`, advice];
  }
}

function nibbles(codes: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0; i < codes.length; i++) out[i >> 1] |= (codes[i] & 15) << 4 * (i & 1);
  return out;
}

/** The initializers of a weight. */
function partsOf(
  { name, shape: [rows, columns] }: PlannedTensor,
  scheme: ResolvedScheme,
  { kernels }: TargetTools,
): Part[] {
  const { element, zero_point, granularity } = scheme;
  const { bits } = element;
  const blocked = isBlocked(scheme);
  const layout = layoutOf("onnx_matmul_nbits");
  const blocks = granularity.kind === "group" ? columns / granularity.size : 1;
  const scales = blocked ? rows * blocks : granularity.kind === "tensor" ? 1 : rows;
  const signed = element.family === "int" && element.signed;
  const small = bits === 4;
  const type = element.family === "float"
    ? ONNX_NUMBERS.get(element.id as "float8_e4m3fn")!
    : small
    ? ONNX_NIBBLES[signed ? "INT4" : "UINT4"]
    : ONNX_NUMBERS.get(signed ? "int8" : "uint8")!;
  const width = blocked ? columns * bits / 8 : columns;
  const turn = blocked && signed ? 2 ** (bits - 1) : 0;
  const pack = (codes: Uint8Array) =>
    blocked
      ? packMatrix(
        kernels,
        { codes: turn ? codes.map((code) => code ^ turn) : codes },
        { rows, columns, bits },
        layout,
      )
      : small
      ? nibbles(codes)
      : codes;
  const parts: Part[] = [{
    name: blocked ? `${name}_Q${bits}` : `${name}_quantized`,
    type: blocked ? 2 : type,
    shape: blocked ? [rows, blocks, width / blocks] : [rows, columns],
    length: blocked ? rows * width : small ? Math.ceil(rows * columns / 2) : rows * columns,
    bytes: ({ codes }) => pack(codes),
  }, {
    name: `${name}_scales`,
    type: 1,
    shape: !blocked && granularity.kind === "tensor" ? [] : [scales],
    length: 4 * scales,
    bytes: ({ parameters }) => encodePlain("float32", parameters.scales),
  }];
  if (!zero_point) return parts;
  const zeroBytes = blocked
    ? rows * Math.ceil(blocks * bits / 8)
    : small
    ? Math.ceil(scales / 2)
    : scales;
  parts.push({
    name: `${name}_zero_points`,
    type: blocked ? 2 : type,
    shape: blocked ? [zeroBytes] : parts[1].shape,
    length: zeroBytes,
    bytes({ parameters: { zeros } }) {
      const codes = zeroCodes(zeros!, bits, name);
      if (!blocked) return small ? nibbles(codes) : codes;
      return packMatrix(kernels, { codes }, { rows, columns: blocks, bits }, layout);
    },
  });
  return parts;
}

/**
 * The target. The file is `onnx/model.onnx`, `model_q4.onnx` with weights of 4 bits, or
 * `model_quantized.onnx`; above 1.9 GB the weights lie in a file of external data beside it.
 */
export function onnxTarget(tools: TargetTools = {}): Target {
  const fit = (tensor: PlannedTensor): Fit => {
    if (tensor.storage.kind === "vector") return noVectors("onnx");
    if (tensor.storage.kind === "plain") {
      const { type } = tensor.storage;
      if (tensor.activation) {
        return { ok: false, problem: "onnx writes weights alone", advice: "leave activations" };
      }
      if (["float32", "float16", "bfloat16"].includes(type)) {
        return { ok: true, bytes: plainBytes(tensor) };
      }
      return { ok: false, problem: `onnx takes no weights of ${type}`, advice: "keep float32" };
    }
    const { scheme } = tensor.storage;
    const problem = problemOf(tensor, scheme);
    if (problem) return { ok: false, problem: problem[0], advice: problem[1] };
    const bytes = partsOf(tensor, scheme, tools).reduce((sum, part) => sum + part.length, 0);
    return { ok: true, bytes, ...(isBlocked(scheme) && { layout: "onnx_matmul_nbits" }) };
  };
  const conflicts = () => [];
  return {
    id: "onnx",
    summary: "Llama-style decoders with MatMulNBits for onnxruntime and transformers.js",
    naming: "huggingface",
    output: "directory",
    fit,
    conflicts,
    create: (args) => create(args, { fit, conflicts }, tools),
  };
}

/** The weights as values of the graph. */
function weightsOf(g: GraphBuilder, tensors: readonly PlannedTensor[]): Weights {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const find = (name: string) => {
    const tensor = byName.get(name);
    if (tensor) return tensor;
    throw new LowbitError("CONFLICT", "the decoder needs a tensor that is not there", {
      field: name,
    });
  };
  const values = new Map<string, string>();
  const asFloat = (name: string, value: string) => {
    const { storage } = find(name);
    const wide = storage.kind === "plain" && storage.type === "float32";
    return wide ? value : g.node("Cast", [value], { to: 1 });
  };
  const value = (name: string) => {
    if (!values.has(name)) values.set(name, asFloat(name, name));
    return values.get(name)!;
  };
  return {
    has: (name) => byName.has(name),
    value,
    embed: (ids, name) => asFloat(name, g.node("Gather", [name, ids], { axis: 0 })),
    linear(input, name) {
      const { storage, shape } = find(name);
      if (storage.kind !== "coded") {
        return g.node("MatMul", [input, transpose(g, value(name), [1, 0])]);
      }
      const { scheme } = storage;
      const zeros = scheme.zero_point ? [`${name}_zero_points`] : [];
      if (scheme.granularity.kind === "group") {
        const { bits } = scheme.element;
        const inputs = [input, `${name}_Q${bits}`, `${name}_scales`, ...zeros];
        const attributes = {
          K: shape[1],
          N: shape[0],
          bits,
          block_size: scheme.granularity.size,
        };
        return g.node("MatMulNBits", inputs, attributes, undefined, "com.microsoft");
      }
      const inputs = [`${name}_quantized`, `${name}_scales`, ...zeros];
      const whole = g.node("DequantizeLinear", inputs, { axis: 0 });
      return g.node("MatMul", [input, transpose(g, whole, [1, 0])]);
    },
  };
}

/** Where the bytes of an initializer go. */
interface Place {
  name: string;
  type: number;
  shape: readonly number[];
  length: number;
}

function placesOf(tensor: PlannedTensor, tools: TargetTools): Place[] {
  const { name, shape, storage } = tensor;
  if (storage.kind === "coded") return partsOf(tensor, storage.scheme, tools);
  const { type } = storage as { type: "float32" };
  const length = elementCount(shape) * PLAIN_BYTES[type];
  return [{ name, type: ONNX_NUMBERS.get(type)!, shape, length }];
}

async function create(
  args: TargetArguments,
  checks: Pick<Target, "fit" | "conflicts">,
  tools: TargetTools,
): Promise<TargetWriter> {
  checkPlan(checks, args);
  const config = withoutQuantization(args.config);
  const sizes = decoderSizes(config);
  const g = new GraphBuilder();
  buildDecoder(g, sizes, weightsOf(g, args.tensors));
  const places = args.tensors.flatMap((tensor) => placesOf(tensor, tools));
  const total = places.reduce((sum, { length }) => sum + length, 0);
  const external = total > MAX_INLINE;
  const bits = args.tensors.flatMap(({ storage }) =>
    storage.kind === "coded" ? [storage.scheme.element.bits] : []
  );
  const name = bits.length === 0 ? "model" : bits.includes(4) ? "model_q4" : "model_quantized";
  const settings = external
    ? { ...config, "transformers.js_config": { use_external_data_format: true } }
    : config;
  await writeSettings(args, settings);
  const sink = await args.output.file(`onnx/${name}.onnx`);
  const head = (place: Place, offset: number): Uint8Array[] => {
    const dims = place.shape.map((size): Field => [1, size]);
    const data: Field[] = !external ? [] : [
      [13, message([1, "location"], [2, `${name}.onnx_data`])],
      [13, message([1, "offset"], [2, String(offset)])],
      [13, message([1, "length"], [2, String(place.length)])],
      [14, 1],
    ];
    return message(...dims, [2, place.type], [8, place.name], ...data);
  };
  // The initializers come last, so that their data can be written as they are made.
  const graphStart = message(...g.constants.map(constantNode), ...g.fields, [2, "decoder"]);
  let offset = 0;
  const starts = places.map((place) => {
    const inner = head(place, offset);
    offset += place.length;
    const raw = external ? [] : fieldStart(9, place.length);
    const length = totalBytes(inner) + totalBytes(raw) + (external ? 0 : place.length);
    return [...fieldStart(5, length), ...inner, ...raw];
  });
  const graph = totalBytes(graphStart) + starts.reduce((sum, s) => sum + totalBytes(s), 0) +
    (external ? 0 : total);
  const opset = (domain: string, version: number): Field => [8, message([1, domain], [2, version])];
  const model = [
    ...message(
      [1, 10],
      [2, "lowbit"],
      [3, args.provenance.lowbit],
      opset("", OPSET),
      opset("com.microsoft", 1),
    ),
    ...fieldStart(7, graph),
    ...graphStart,
  ];
  for (const piece of model) await sink.write(piece);
  const data = external ? await args.output.file(`onnx/${name}.onnx_data`) : sink;
  const plan = new Plan(args.tensors);
  let next = 0;
  const write = async (bytes: Uint8Array) => {
    const place = places[next];
    if (bytes.length !== place.length) {
      throw new LowbitError("SHAPE", `has ${bytes.length} bytes, ${place.length} were planned`, {
        field: place.name,
      });
    }
    for (const piece of starts[next]) await sink.write(piece);
    await data.write(bytes);
    next++;
  };
  return {
    async plain(tensor, bytes) {
      plan.take(tensor, "plain");
      await write(bytes);
    },
    async coded(tensor, quantized) {
      const planned = plan.take(tensor, "coded");
      checkQuantized(planned, quantized);
      refuseSide("onnx", tensor, quantized);
      for (const part of partsOf(planned, quantized.scheme, tools)) {
        await write(part.bytes(quantized));
      }
    },
    async finish() {
      plan.finish();
      await sink.close();
      if (external) await data.close();
    },
  };
}
