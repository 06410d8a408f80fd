/**
 * The autodiff library, behind one module: `spec/autodiff.ts` on `@jax-js/jax`, WebAssembly backend.
 *
 * - Every value is owned by the scope of the function that makes it. An operation takes a reference of
 *   its inputs; at the end the scope gives back all of them but the result.
 * - Programs are run synchronously, which keeps the library on this thread: no workers, no permissions.
 * - The library would use fused multiply-add where the engine has relaxed SIMD, and whether that fuses
 *   depends on the machine. It is told that there is none, before it compiles its first kernel.
 *
 * @module
 */

import type * as Jax from "@jax-js/jax";
import {
  type Autodiff,
  type DeviceTensor,
  type DiffFunction,
  type DiffInputs,
  type DiffTensor,
  LowbitError,
  type Operand,
  type Program,
} from "../spec/mod.ts";

type Library = typeof Jax;
type Values = Jax.Array;

let loaded: Promise<Autodiff> | undefined;

/**
 * Loads the library; the first call does, later ones return the same.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadAutodiff } from "./mod.ts";
 * const autodiff = await loadAutodiff();
 * using square = autodiff.compile(({ inputs: { x } }) => x.mul(x).sum(), ["x"]);
 * const { value, gradients } = square.run({ x: { values: Float32Array.of(1, 2, 3), shape: [3] } });
 * assertEquals([...value, ...gradients.x], [14, 2, 4, 6]);
 * ```
 */
export function loadAutodiff(): Promise<Autodiff> {
  return loaded ??= load();
}

async function load(): Promise<Autodiff> {
  const library = await import("@jax-js/jax");
  await library.init("wasm");
  library.defaultDevice("wasm");
  withoutFusedMultiplyAdd(library);
  return {
    name: "@jax-js/jax 0.1.25, wasm",
    compile: (f, gradients = []) => new JaxProgram(library, f, gradients),
    upload: (values, shape) => new Uploaded(upload(library, values, shape)),
  };
}

/** The library asks once, when it compiles its first kernel, and keeps the answer. */
function withoutFusedMultiplyAdd({ numpy: np }: Library): void {
  const { validate } = WebAssembly;
  WebAssembly.validate = () => false;
  try {
    np.dot(np.array([1, 2]), np.array([3, 4])).dataSync();
  } finally {
    WebAssembly.validate = validate;
  }
}

function upload(
  library: Library,
  values: Readonly<Float32Array>,
  shape: readonly number[],
): Values {
  const count = shape.reduce((a, b) => a * b, 1);
  if (values.length !== count) {
    throw new LowbitError(
      "SHAPE",
      `has ${values.length} elements, but ${shape.join(" x ")} need ${count}`,
    );
  }
  return withinMemory(() =>
    library.numpy.array(values as Float32Array<ArrayBuffer>, { shape: [...shape] })
  );
}

class Uploaded implements DeviceTensor {
  #array?: Values;

  constructor(array: Values) {
    this.#array = array;
  }

  get shape(): number[] {
    return this.array.shape;
  }

  get array(): Values {
    if (this.#array) return this.#array;
    throw new LowbitError("USAGE", "has been freed", { field: "tensor" });
  }

  free(): void {
    this.#array?.dispose();
    this.#array = undefined;
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

type Compiled = Jax.OwnedFunction<
  (
    wanted: Record<string, Values>,
    others: Record<string, Values>,
  ) => [Values, Record<string, Values>]
>;

class JaxProgram implements Program {
  readonly #library: Library;
  readonly #gradients: readonly string[];
  readonly #compiled: Compiled;

  constructor(library: Library, f: DiffFunction, gradients: readonly string[]) {
    this.#library = library;
    this.#gradients = gradients;
    const body = (wanted: Record<string, Values>, others: Record<string, Values>) =>
      evaluate(library, f, { ...wanted, ...others });
    this.#compiled = library.jit((wanted: Record<string, Values>, others: Record<string, Values>) =>
      gradients.length === 0
        ? [body(wanted, others), {}]
        : library.valueAndGrad((w: Record<string, Values>) => body(w, others))(wanted)
    ) as unknown as Compiled;
  }

  run(inputs: DiffInputs) {
    const wanted: Record<string, Values> = {}, others: Record<string, Values> = {};
    for (const name of this.#gradients) {
      if (!inputs[name]) throw new LowbitError("USAGE", "is missing", { field: name });
    }
    for (const [name, input] of Object.entries(inputs)) {
      const array = input instanceof Uploaded
        ? input.array.ref
        : "values" in input
        ? upload(this.#library, input.values, input.shape)
        : undefined;
      if (!array) throw new LowbitError("USAGE", "is of another library", { field: name });
      (this.#gradients.includes(name) ? wanted : others)[name] = array;
    }
    return withinMemory(() => {
      const [value, gradients] = this.#compiled(wanted, others);
      return {
        value: value.dataSync() as Float32Array,
        gradients: Object.fromEntries(
          Object.entries(gradients).map(([name, g]) => [name, g.dataSync() as Float32Array]),
        ),
      };
    });
  }

  free(): void {
    this.#compiled.dispose();
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

/** The library's memory is addressed by 32 bits; what does not fit is an error that users can act on. */
function withinMemory<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof RangeError && /allocation|memory/i.test(error.message))) throw error;
    throw new LowbitError("MEMORY", "gradients do not fit in the 4 GiB of the autodiff library", {
      advice: "use shorter windows, or fewer at a time",
      cause: error,
    });
  }
}

/** Runs a function on arrays that it takes over; all values but the result are given back. */
function evaluate(library: Library, f: DiffFunction, inputs: Record<string, Values>): Values {
  const scope: Scope = { library, owned: [] };
  const wrapped = Object.entries(inputs).map(([name, array]) => [name, own(scope, array)]);
  const result = f({
    inputs: Object.fromEntries(wrapped),
    constant: (values, shape) => own(scope, upload(library, Float32Array.from(values), shape)),
  }) as JaxTensor;
  const { ref } = result.array;
  for (const array of scope.owned) array.dispose();
  return ref;
}

/** Everything that a function has made so far. */
interface Scope {
  library: Library;
  owned: Values[];
}

function own(scope: Scope, array: Values): JaxTensor {
  scope.owned.push(array);
  return new JaxTensor(scope, array);
}

class JaxTensor implements DiffTensor {
  readonly #scope: Scope;

  constructor(scope: Scope, readonly array: Values) {
    this.#scope = scope;
  }

  get shape(): readonly number[] {
    return this.array.shape;
  }

  #with(f: (library: Library, x: Values) => Values): JaxTensor {
    return own(this.#scope, f(this.#scope.library, this.array.ref));
  }

  #combine(
    other: Operand,
    f: (np: Library["numpy"], x: Values, y: Values | number) => Values,
  ): JaxTensor {
    const y = typeof other === "number" ? other : (other as JaxTensor).array.ref;
    return this.#with(({ numpy }, x) => f(numpy, x, y));
  }

  add(other: Operand): DiffTensor {
    return this.#combine(other, (np, x, y) => np.add(x, y));
  }
  sub(other: Operand): DiffTensor {
    return this.#combine(other, (np, x, y) => np.subtract(x, y));
  }
  mul(other: Operand): DiffTensor {
    return this.#combine(other, (np, x, y) => np.multiply(x, y));
  }
  div(other: Operand): DiffTensor {
    return this.#combine(other, (np, x, y) => np.divide(x, y));
  }
  maximum(other: Operand): DiffTensor {
    return this.#combine(other, (np, x, y) => np.maximum(x, y));
  }
  minimum(other: Operand): DiffTensor {
    return this.#combine(other, (np, x, y) => np.minimum(x, y));
  }
  matmul(other: DiffTensor): DiffTensor {
    return this.#combine(other, (np, x, y) => np.matmul(x, y));
  }
  transpose(axes?: readonly number[]): DiffTensor {
    const order = this.shape.map((_, i) => i);
    order.push(...order.splice(-2).reverse());
    return this.#with(({ numpy }, x) => numpy.transpose(x, axes ? [...axes] : order));
  }
  reshape(shape: readonly number[]): DiffTensor {
    return this.#with((_, x) => x.reshape([...shape]));
  }
  slice(axis: number, start: number, end: number): DiffTensor {
    const index = this.shape.map((_, i): [] | [number, number] => i === axis ? [start, end] : []);
    return this.#with((_, x) => x.slice(...index));
  }
  padTo(length: number): DiffTensor {
    const more = length - this.shape.at(-1)!;
    if (more === 0) return this;
    const width = this.shape.map((_, i): [number, number] => [
      0,
      i === this.shape.length - 1 ? more : 0,
    ]);
    return this.#with(({ numpy }, x) => numpy.pad(x, width));
  }
  repeat(count: number): DiffTensor {
    const shape = [...this.shape];
    const last = shape.pop()!;
    return this.#with(({ numpy }, x) =>
      numpy.broadcastTo(x.reshape([...shape, last, 1]), [...shape, last, count])
        .reshape([...shape, last * count])
    );
  }
  sum(axes?: readonly number[], keep = false): DiffTensor {
    return this.#with(({ numpy }, x) => numpy.sum(x, axes ? [...axes] : null, { keepdims: keep }));
  }
  mean(axes?: readonly number[], keep = false): DiffTensor {
    return this.#with(({ numpy }, x) => numpy.mean(x, axes ? [...axes] : null, { keepdims: keep }));
  }
  max(): DiffTensor {
    return this.#with(({ numpy }, x) => numpy.max(x, -1, { keepdims: true }));
  }
  min(): DiffTensor {
    return this.#with(({ numpy }, x) => numpy.min(x, -1, { keepdims: true }));
  }
  exp(): DiffTensor {
    return this.#with(({ numpy }, x) => numpy.exp(x));
  }
  sqrt(): DiffTensor {
    return this.#with(({ numpy }, x) => numpy.sqrt(x));
  }
  abs(): DiffTensor {
    return this.#with(({ numpy }, x) => numpy.abs(x));
  }
  sigmoid(): DiffTensor {
    return this.#with(({ nn }, x) => nn.sigmoid(x));
  }
  softmax(): DiffTensor {
    return this.#with(({ nn }, x) => nn.softmax(x, -1));
  }
  logSumExp(): DiffTensor {
    return this.#with(({ nn }, x) => nn.logsumexp(x, -1));
  }
  round(): DiffTensor {
    return this.#with(({ numpy, lax }, x) => {
      const change = numpy.subtract(numpy.round(x.ref), x.ref);
      return numpy.add(x, lax.stopGradient(change));
    });
  }
  detach(): DiffTensor {
    return this.#with(({ lax }, x) => lax.stopGradient(x));
  }
}
