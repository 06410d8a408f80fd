import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import {
  checkRotation,
  LowbitError,
  rotate,
  type Rotation,
  type RotationPart,
} from "../../../spec/mod.ts";
import { openBench } from "../../../tests/bench.ts";
import {
  plainStatistics,
  proxyLoss,
  runQuantize,
  testInputs,
  testWeight,
} from "../../_math/testing.ts";
import { randomRotation } from "../../_math/rotation.ts";
import { gptq } from "../gptq/mod.ts";
import { rtn } from "../rtn/mod.ts";
import { quip } from "./mod.ts";

const bench = await openBench();
const { codecs, kernels } = bench;
const [rows, columns] = [36, 80];
const weight = testWeight(bench.rng("weight"), rows, columns)
  .map((value, i) => i % 97 === 0 ? value * 8 : value);
const statistics = plainStatistics(testInputs(bench.rng("inputs"), 400, columns), columns);

const run = (id: string, options: Record<string, unknown> = {}, given = statistics) =>
  runQuantize(bench, quip, {
    scheme: codecs.resolve(id),
    weight,
    rows,
    statistics: given,
    options,
  });

Deno.test("quip: rotations are orthogonal, undo themselves, and need no sizes of Hadamard", () => {
  for (const kind of ["kronecker", "hadamard"] as const) {
    for (const channels of [36, 80, 172, 43]) {
      const rotation = randomRotation(kernels, bench.rng(`${kind} ${channels}`), channels, kind);
      checkRotation(rotation, channels, 1e-5);
      const x = Float64Array.from({ length: 2 * channels }, (_, i) => Math.sin(i + 1));
      const turned = rotate(x.slice(), rotation);
      const norm = (v: Float64Array) => v.reduce((sum, value) => sum + value * value, 0);
      assertLess(Math.abs(norm(turned) / norm(x) - 1), 1e-5);
      const back = rotate(turned, rotation, { inverse: true });
      back.forEach((value, i) => assertLess(Math.abs(value - x[i]), 1e-5));
    }
  }
});

Deno.test("quip: 8 bits give the weight back, so that all that was done is undone", () => {
  for (const rotation of ["kronecker", "hadamard"]) {
    for (const rescale of [true, false]) {
      const { decoded } = run("int8_channel_asym", { rotation, rescale, range: "min_max" });
      const error = decoded.reduce((sum, value, i) => sum + (value - weight[i]) ** 2, 0);
      assertLess(error, 1e-3 * weight.reduce((sum, value) => sum + value ** 2, 0));
    }
  }
});

Deno.test("quip: incoherence falls, mu = max|W| sqrt(m n) / |W|_F", () => {
  const { tensor, decoded } = run("int8_channel_asym", { range: "min_max" });
  const [part] = tensor.side as RotationPart[];
  assertEquals(part.kind, "rotation");
  const plain = codecs.get(tensor.scheme).dequantize({ ...tensor, side: [] });
  const mu = (x: Float32Array) => {
    const norm = Math.sqrt(x.reduce((sum, value) => sum + value ** 2, 0));
    return x.reduce((a, v) => Math.max(a, Math.abs(v)), 0) * Math.sqrt(x.length) / norm;
  };
  assertLess(mu(plain), 0.6 * mu(decoded));
});

Deno.test("quip beats rtn and gptq on the proxy loss where weights have outliers", () => {
  const scheme = codecs.resolve({ base: "int4_channel_asym", element: "uint3" });
  const loss = (decoded: Float32Array) => proxyLoss(weight, decoded, statistics);
  const plain = loss(runQuantize(bench, rtn, { scheme, weight, rows }).decoded);
  const second = loss(runQuantize(bench, gptq, { scheme, weight, rows, statistics }).decoded);
  for (const rotation of ["kronecker", "hadamard"]) {
    for (const range of ["rms", "error"]) {
      const options = { rotation, range };
      const made = runQuantize(bench, quip, { scheme, weight, rows, statistics, options });
      assertLess(loss(made.decoded), 0.5 * plain);
      assertLess(loss(made.decoded), second);
    }
  }
});

Deno.test("quip: LDLQ is gptq in the rotated space", () => {
  // What gptq makes of the rotated weight under the rotated Hessian, column after column.
  const options = { rescale: false, rotation: "hadamard", range: "min_max" };
  const { tensor } = run("int4_channel_asym", options);
  const part = tensor.side![0] as RotationPart;
  const turn = (values: Float64Array, width: number, rotation: Rotation) => {
    const turned = rotate(Float64Array.from(values), rotation);
    const height = turned.length / width;
    return Float64Array.from(
      turned,
      (_, i) => turned[(i % height) * width + Math.floor(i / height)],
    );
  };
  const w = turn(turn(Float64Array.from(weight), columns, part.columns!), rows, part.rows!);
  const h = turn(turn(statistics.gram!, columns, part.columns!), columns, part.columns!);
  const plain = runQuantize(bench, gptq, {
    scheme: tensor.scheme,
    weight: Float32Array.from(w),
    rows,
    statistics: { ...statistics, gram: h },
    options: { act_order: false, static_groups: true },
  });
  const different = plain.tensor.codes.filter((code, i) => code !== tensor.codes[i]).length;
  assertLess(different, 0.01 * weight.length);
});

Deno.test("quip: dead inputs, an indefinite Hessian, no Hessian, the same bytes twice", () => {
  const gram = statistics.gram!.slice();
  for (let j = 0; j < columns; j++) gram[5 * columns + j] = gram[j * columns + 5] = 0;
  assert(run("int4_g32_asym", {}, { ...statistics, gram }).decoded.every(Number.isFinite));
  const broken = statistics.gram!.slice();
  broken[1] = broken[columns] = 1e12;
  const { warnings, decoded } = run("int4_g32_asym", {}, { ...statistics, gram: broken });
  assert(warnings.some((warning) => warning.includes("rounded to nearest")));
  assert(decoded.every(Number.isFinite));
  assertEquals(run("int4_g32_asym").tensor, run("int4_g32_asym").tensor);
  const none = { columns, tokens: 0, custom: new Map() };
  assertThrows(() => run("int4_g32_asym", {}, none), LowbitError, "has no Hessian");
});
