/**
 * Gradients: what plugins that learn are given instead of an autodiff library. Values inside a
 * differentiated function are {@linkcode DiffTensor}s; nobody counts references or frees them.
 *
 * @module
 */

/** What an operation combines a value with: another one, by the rules of broadcasting, or a number. */
export type Operand = DiffTensor | number;

/** A value inside a differentiated function, f32. Operations make new values and change none. */
export interface DiffTensor {
  /** Its shape. */
  readonly shape: readonly number[];
  /** Sum. */
  add(other: Operand): DiffTensor;
  /** Difference. */
  sub(other: Operand): DiffTensor;
  /** Product, element by element. */
  mul(other: Operand): DiffTensor;
  /** Quotient. */
  div(other: Operand): DiffTensor;
  /** The larger of two, element by element. */
  maximum(other: Operand): DiffTensor;
  /** The smaller of two, element by element. */
  minimum(other: Operand): DiffTensor;
  /** Matrix product over the last two axes; the axes before them are broadcast. */
  matmul(other: DiffTensor): DiffTensor;
  /** Axes in another order; the last two swapped, if no order is given. */
  transpose(axes?: readonly number[]): DiffTensor;
  /** The same elements in another shape. */
  reshape(shape: readonly number[]): DiffTensor;
  /** Elements `start` to `end` of an axis. */
  slice(axis: number, start: number, end: number): DiffTensor;
  /** Zeros behind the elements of the last axis, until it has `length`. */
  padTo(length: number): DiffTensor;
  /** Every element `count` times in a row along the last axis. */
  repeat(count: number): DiffTensor;
  /** Sum over axes (all, if none are given); `keep` leaves axes of 1. */
  sum(axes?: readonly number[], keep?: boolean): DiffTensor;
  /** Mean over axes (all, if none are given); `keep` leaves axes of 1. */
  mean(axes?: readonly number[], keep?: boolean): DiffTensor;
  /** Largest element along the last axis, which stays as 1. */
  max(): DiffTensor;
  /** Smallest element along the last axis, which stays as 1. */
  min(): DiffTensor;
  /** Exponential. */
  exp(): DiffTensor;
  /** Square root. */
  sqrt(): DiffTensor;
  /** Magnitude. */
  abs(): DiffTensor;
  /** `1 / (1 + exp(-x))`. */
  sigmoid(): DiffTensor;
  /** Softmax along the last axis. */
  softmax(): DiffTensor;
  /** `log(sum(exp(x)))` along the last axis, which is gone. */
  logSumExp(): DiffTensor;
  /** Nearest whole number, ties to even; gradients go straight through. */
  round(): DiffTensor;
  /** The same value, through which no gradient goes. */
  detach(): DiffTensor;
}

/** A value that stays in the library's memory between runs. */
export interface DeviceTensor extends Disposable {
  /** Its shape. */
  readonly shape: readonly number[];
  /** Gives the memory back. */
  free(): void;
}

/** An input of a program: values that are copied once for the run, or what has been uploaded. */
export type DiffInput =
  | { values: Readonly<Float32Array>; shape: readonly number[] }
  | DeviceTensor;

/** The inputs of a program, by name. */
export type DiffInputs = Readonly<Record<string, DiffInput>>;

/** What a differentiated function is given: its inputs, and a way to make constants. */
export interface DiffScope {
  /** The inputs, by name. */
  readonly inputs: Readonly<Record<string, DiffTensor>>;
  /** A value that is the same in every run. */
  constant(values: ArrayLike<number>, shape: readonly number[]): DiffTensor;
}

/** A function of {@linkcode DiffTensor}s. */
export type DiffFunction = (scope: DiffScope) => DiffTensor;

/** A compiled function; new shapes of inputs compile it again. */
export interface Program extends Disposable {
  /** The result, and its gradients by the inputs that were named; gradients need a scalar result. */
  run(inputs: DiffInputs): { value: Float32Array; gradients: Record<string, Float32Array> };
  /** Gives the memory back. */
  free(): void;
}

/**
 * Differentiated functions. Arithmetic is f32 on one thread, in an order that depends on shapes alone:
 * the same bits on every run, and for any number of kernel threads.
 */
export interface Autodiff {
  /** The library and its version. */
  readonly name: string;
  /** Compiles a function; `gradients` names the inputs that it is differentiated by. */
  compile(f: DiffFunction, gradients?: readonly string[]): Program;
  /** Copies values into the library's memory, for many runs. */
  upload(values: Readonly<Float32Array>, shape: readonly number[]): DeviceTensor;
}

/** What a caller changes about a differentiable forward; `undefined` leaves it as it is. */
export interface DiffReplacements {
  /** What a linear makes of its input, by role (in a model: by id). */
  linear?(role: string, x: DiffTensor): DiffTensor | undefined;
  /** A parameter that is no linear, by name. */
  parameter?(name: string): DiffTensor | undefined;
}
