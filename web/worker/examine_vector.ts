/**
 * A vector format in YAML, tried on numbers by the codec that quantises models.
 *
 * @module
 */

import { resolveVectorFormat } from "../../formats/lookup.ts";
import { vectorBits } from "../../formats/vectors/facts.ts";
import { parseYaml } from "../../formats/yaml.ts";
import { type Codecs, type VectorFormat, vectorFormatSchema, vectorUnit } from "../../spec/mod.ts";
import type { FormatView, Trial } from "../protocol.ts";
import { errorBetween, matrixOf } from "./examine_numbers.ts";
import { withLine, withPlace } from "./examine_scheme.ts";

/** Pairs that are drawn, at most. */
const PAIRS = 1500;
/** Numbers that a large trellis is tried on: its search takes a second for some hundred. */
const FEW = 512;

/** Reads and tries a vector format. */
export function examineVector({ yaml, on, columns: wanted }: Trial, codecs: Codecs): FormatView {
  const format = withLine(
    yaml,
    () => resolveVectorFormat(parseYaml(yaml, vectorFormatSchema, "format")),
  );
  const slow = format.family === "trellis" && format.state > 12;
  const { numbers, rows, columns } = wholeUnits(format, matrixOf(on, wanted), slow);
  checkTables(yaml, format, numbers.length);
  const codec = codecs.vector(format);
  const tensor = codec.encode(numbers, rows, columns);
  const back = codec.decode(tensor);
  const { tables, tableSize } = codec.shape(rows, columns);
  return {
    kind: "vector format",
    id: format.id,
    summary: format.summary,
    bits: vectorBits(format, rows, columns) / numbers.length,
    values: new Float32Array(),
    facts: [
      ["numbers tried", numbers.length],
      ["numbers in a unit", vectorUnit(format).unitColumns],
      ...(tables
        ? [["learned tables", tables.gridRows * tables.gridColumns], [
          "numbers in a table",
          tableSize,
        ]]
        : []) as FormatView["facts"],
    ],
    error: errorBetween(numbers, back),
    curve: [],
    pairs: neighbours(numbers, back),
  };
}

/** As much of a matrix as consists of whole units of a format. */
function wholeUnits(
  format: VectorFormat,
  { numbers, rows, columns }: ReturnType<typeof matrixOf>,
  slow: boolean,
): ReturnType<typeof matrixOf> {
  const unit = vectorUnit(format);
  const across = slow
    ? Math.min(columns, Math.max(unit.unitColumns, FEW / unit.unitRows))
    : columns;
  const down = slow ? Math.min(rows, unit.unitRows) : rows;
  const wide = Math.max(1, Math.floor(across / unit.unitColumns)) * unit.unitColumns;
  const high = Math.max(1, Math.floor(down / unit.unitRows)) * unit.unitRows;
  if (wide === columns && high === rows) return { numbers, rows, columns };
  const part = new Float32Array(high * wide);
  for (let row = 0; row < high; row++) {
    for (let column = 0; column < wide; column++) {
      part[row * wide + column] = numbers[(row % rows) * columns + column % columns];
    }
  }
  return { numbers: part, rows: high, columns: wide };
}

/** A table that could hold every number by heart says nothing about a format. */
function checkTables(yaml: string, format: VectorFormat, numbers: number): void {
  if (format.family !== "lookup") return;
  const vectors = numbers / format.dimension;
  if (2 ** format.bits * 8 <= vectors) return;
  throw withPlace(
    yaml,
    "bits",
    `a table of ${2 ** format.bits} entries would know the ${vectors} vectors here by heart; ` +
      "`lowbit formats compare` tries it on the weights of a model",
  );
}

/** Neighbouring numbers before and after, as points of a plane. */
function neighbours(numbers: Float32Array, back: Float32Array): FormatView["pairs"] {
  const points = (values: Float32Array) =>
    Array.from(
      { length: Math.min(PAIRS, values.length >> 1) },
      (_, i): [number, number] => [values[2 * i], values[2 * i + 1]],
    );
  return { before: points(numbers), after: points(back) };
}
