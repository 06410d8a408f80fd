/**
 * ONNX files of one matrix product, for the peers of the benchmarks. Only what they need of the
 * protobuf schema of ONNX: numbers, texts and bytes by field number.
 *
 * @module
 */

/** A field of a message. */
type Field = [number: number, value: number | string | Uint8Array | Uint8Array[]];

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

/** Pieces of a message; large data is not copied until the end. */
function message(...fields: Field[]): Uint8Array[] {
  return fields.flatMap(([number, value]) => {
    if (typeof value === "number") {
      return [Uint8Array.from([...varint(number * 8), ...varint(value)])];
    }
    const parts = typeof value === "string"
      ? [new TextEncoder().encode(value)]
      : Array.isArray(value)
      ? value
      : [value];
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    return [Uint8Array.from([...varint(number * 8 + 2), ...varint(size)]), ...parts];
  });
}

const FLOAT = 1, UINT8 = 2, INT8 = 3;

function tensor(name: string, type: number, dims: number[], data: Uint8Array): Field {
  const sizes = dims.map((size): Field => [1, size]);
  return [5, message(...sizes, [2, type], [8, name], [9, data])];
}

function node(op: string, inputs: string[], outputs: string[], ints: Record<string, number> = {}) {
  const attributes = Object.entries(ints).map(([name, value]): Field => [
    5,
    message([1, name], [3, value], [20, 2]),
  ]);
  const domain: Field[] = op === "MatMulNBits" ? [[7, "com.microsoft"]] : [];
  return [
    1,
    message(
      ...inputs.map((name): Field => [1, name]),
      ...outputs.map((name): Field => [2, name]),
      [4, op],
      ...attributes,
      ...domain,
    ),
  ] as Field;
}

function value(field: number, name: string, columns: number): Field {
  const shape = message([1, message([2, "M"])], [1, message([1, columns])]);
  return [field, message([1, name], [2, message([1, message([1, FLOAT], [2, shape])])])];
}

/** The kinds of product: f32; 8 bits with inputs quantised on the fly; 4 bits by blocks of 32 or 128. */
export type ProductKind = "f32" | "int8" | "q4 block 32" | "q4 block 128";

/** A model `Y[M, N] = X[M, K] W`. */
export function productModel(kind: ProductKind, n: number, k: number): Uint8Array<ArrayBuffer> {
  const floats = (length: number, scale: number) => {
    const data = Float32Array.from({ length }, (_, i) => Math.sin(i * 0.37 + (i >> 7)) * scale);
    return new Uint8Array(data.buffer);
  };
  const bytes = (length: number) => {
    const data = new Uint8Array(length);
    for (let i = 0; i < length; i++) data[i] = (i * 2654435761) >>> 13;
    return data;
  };
  const block = Number(kind.split(" ").at(-1));
  const body: Field[] = kind === "f32"
    ? [node("MatMul", ["X", "W"], ["Y"]), tensor("W", FLOAT, [k, n], floats(n * k, 0.02))]
    : kind === "int8"
    ? [
      node("DynamicQuantizeLinear", ["X"], ["q", "s", "z"]),
      node("MatMulInteger", ["q", "W", "z", "wz"], ["i"]),
      node("Cast", ["i"], ["f"], { to: FLOAT }),
      node("Mul", ["s", "ws"], ["t"]),
      node("Mul", ["f", "t"], ["Y"]),
      tensor("W", INT8, [k, n], bytes(n * k)),
      tensor("ws", FLOAT, [], floats(1, 1)),
      tensor("wz", INT8, [], Uint8Array.of(0)),
    ]
    : [
      node("MatMulNBits", ["X", "B", "S"], ["Y"], {
        K: k,
        N: n,
        bits: 4,
        block_size: block,
        accuracy_level: 4,
      }),
      tensor(
        "B",
        UINT8,
        [n, Math.ceil(k / block), block / 2],
        bytes(n * Math.ceil(k / block) * block / 2),
      ),
      tensor("S", FLOAT, [n * Math.ceil(k / block)], floats(n * Math.ceil(k / block), 0.01)),
    ];
  const graph = message(...body, [2, "g"], value(11, "X", k), value(12, "Y", n));
  const opset = (domain: string, version: number): Field => [8, message([1, domain], [2, version])];
  const parts = message([1, 9], [7, graph], opset("", 17), opset("com.microsoft", 1));
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
