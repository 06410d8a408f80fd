/**
 * Checks that every target makes on what it is given to write.
 *
 * @module
 */

import {
  allFinite,
  type CodedTensor,
  type Fit,
  LowbitError,
  PLAIN_BYTES,
  type PlainType,
  type PlannedTensor,
  type QuantizedTensor,
  type SideKind,
  sideKind,
  type Target,
  type TargetArguments,
  tiling,
} from "../../spec/mod.ts";
import { elementCount } from "../containers/stored.ts";
import { parameterParts, partValues } from "../parameter_parts.ts";

/** The plan of a writer: which tensor comes next, and what it must be. */
export class Plan {
  #next = 0;

  /** Takes the tensors in their order. */
  constructor(private readonly tensors: readonly PlannedTensor[]) {}

  /** The planned tensor that a call is about; it must be the next one. Error: `SHAPE`. */
  take(name: string, kind: PlannedTensor["storage"]["kind"]): PlannedTensor {
    const planned = this.tensors[this.#next];
    if (planned?.name !== name || planned.storage.kind !== kind) {
      const expected = planned
        ? `${planned.name} (${planned.storage.kind}) is next`
        : "all are written";
      throw new LowbitError("SHAPE", `was written as ${kind} out of order: ${expected}`, {
        field: name,
      });
    }
    this.#next++;
    return planned;
  }

  /** Checks that all were written. Error: `SHAPE`. */
  finish(): void {
    const left = this.tensors[this.#next];
    if (left) throw new LowbitError("SHAPE", "was not written", { field: left.name });
  }
}

/** The type of a plain tensor. */
export function plainType({ name, storage }: PlannedTensor): PlainType {
  if (storage.kind === "plain") return storage.type;
  throw new LowbitError("SHAPE", "is not plain", { field: name });
}

/** Bytes of a plain tensor. */
export function plainBytes(tensor: PlannedTensor): number {
  return elementCount(tensor.shape) * PLAIN_BYTES[plainType(tensor)];
}

/** The two dimensions of a coded tensor; undefined if it has not two. */
export function matrixShape(
  shape: readonly number[],
): [rows: number, columns: number] | undefined {
  return shape.length === 2 ? [shape[0], shape[1]] : undefined;
}

/** Checks that a quantised tensor has the shape that was planned. Error: `SHAPE`. */
export function checkShape(planned: PlannedTensor, { shape }: CodedTensor): void {
  if (planned.shape.length === 2 && planned.shape.every((n, i) => n === shape[i])) return;
  throw new LowbitError("SHAPE", `is [${shape}], but [${planned.shape}] was planned`, {
    field: planned.name,
  });
}

/**
 * Checks codes and parameters of a quantised tensor against its plan. Errors: `SHAPE`,
 * `NON_FINITE` (a scale or zero point that is no finite number).
 */
export function checkQuantized(planned: PlannedTensor, tensor: QuantizedTensor): void {
  const field = planned.name;
  const [rows, columns] = tensor.shape;
  checkShape(planned, tensor);
  const { scheme, codes, parameters } = tensor;
  const parts = parameterParts(scheme, tiling(scheme.granularity, rows, columns));
  const expect = (what: string, actual: number | undefined, expected: number) => {
    if (actual !== expected) {
      throw new LowbitError("SHAPE", `has ${actual ?? 0} ${what}, expected ${expected}`, { field });
    }
  };
  expect("codes", codes.length, rows * columns);
  for (const part of parts) {
    const values = partValues(parameters, part);
    const [partRows, partColumns] = part.shape;
    expect(
      part.name === "zeros" ? "zero points" : part.name,
      values?.length,
      partRows * partColumns,
    );
    if (!allFinite(values!)) {
      throw new LowbitError("NON_FINITE", "has a scale or zero point that is not finite", {
        field,
      });
    }
  }
}

/** Refuses what the target cannot hold, before the first byte is written. Error: `CONFLICT`. */
export function checkPlan(target: Pick<Target, "fit" | "conflicts">, args: TargetArguments): void {
  for (const tensor of args.tensors) {
    const result = target.fit(tensor);
    if (result.ok) continue;
    throw new LowbitError("CONFLICT", result.problem, {
      field: tensor.name,
      advice: result.advice,
    });
  }
  const [first] = target.conflicts(args.tensors);
  if (first) throw new LowbitError("CONFLICT", first.problem, { advice: first.advice });
}

/** The answer of targets that hold no vector formats. */
export function noVectors(target: string): Fit & { ok: false } {
  return {
    ok: false,
    problem: `${target} has no place for vector formats`,
    advice: "write with --to lowbit",
  };
}

/** Refuses side tensors, for targets that have no place for them. Error: `CONFLICT`. */
export function refuseSide(
  target: string,
  name: string,
  { side = [] }: QuantizedTensor,
  held: readonly SideKind[] = [],
): void {
  const kind = side.map(sideKind).find((kind, i) => !held.includes(kind) || i > 0);
  if (kind === undefined) return;
  throw new LowbitError("CONFLICT", `${target} cannot hold its ${kind} part`, {
    field: name,
    advice: "write with --to lowbit, or leave out the plugin that makes side tensors",
  });
}

/** Integer zero points as codes. Error `FORMAT` if one is outside the codes of its element. */
export function zeroCodes(
  zeros: Float32Array,
  bits: number,
  field: string,
): Uint8Array<ArrayBuffer> {
  const top = 2 ** bits - 1;
  const bad = zeros.find((zero) => !Number.isInteger(zero) || zero < 0 || zero > top);
  if (bad !== undefined) {
    throw new LowbitError("FORMAT", `has the zero point ${bad}, not within 0 to ${top}`, { field });
  }
  return Uint8Array.from(zeros);
}
