/**
 * A scheme in YAML, tried on numbers by the codec that quantises models.
 *
 * @module
 */

import { resolveScheme } from "../../formats/lookup.ts";
import { storedBits } from "../../formats/parameter_parts.ts";
import { decodeTable } from "../../formats/reference.ts";
import { parseYaml, readYaml } from "../../formats/yaml.ts";
import { type Codecs, LowbitError, schemeSchema, tiling } from "../../spec/mod.ts";
import type { FormatView, Trial } from "../protocol.ts";
import { elementFacts, errorBetween, errorCurve, matrixOf } from "./examine_numbers.ts";

/** Reads and tries a scheme. */
export function examineScheme({ yaml, on, columns: wanted }: Trial, codecs: Codecs): FormatView {
  const scheme = withLine(yaml, () => resolveScheme(parseYaml(yaml, schemeSchema, "format")));
  const { element } = scheme;
  if (element.bits > 8) {
    throw withPlace(yaml, "element", `${element.id} has too many codes to draw`);
  }
  const { numbers, rows, columns } = matrixOf(on, wanted);
  const codec = codecs.get(scheme);
  const tensor = codec.quantize(numbers, rows, columns);
  const back = codec.dequantize(tensor);
  const counts = new Float64Array(256);
  for (const code of tensor.codes) counts[code]++;
  const values = decodeTable(element);
  return {
    kind: "scheme",
    id: scheme.id,
    summary: scheme.summary,
    bits: storedBits(scheme, tiling(scheme.granularity, rows, columns)) / numbers.length,
    values,
    facts: elementFacts(element),
    error: errorBetween(numbers, back, counts),
    curve: errorCurve(element, values),
  };
}

/** Errors of looking up have a field but no line: the line is that of the field. */
export function withLine<T>(yaml: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof LowbitError) || /:\d+$/.test(error.file ?? "")) throw error;
    const { code, problem, field, advice } = error;
    // A name that is unknown is where it stands, however deep.
    const named = /"([^"]+)"/.exec(problem)?.[1];
    const row = named ? yaml.split("\n").findIndex((text) => text.includes(named)) : -1;
    const line = row >= 0 ? row + 1 : readYaml(yaml, "format").lineOf(field ?? "id");
    throw new LowbitError(code, problem, { file: `format:${line}`, field, advice });
  }
}

/** An error about a field. */
export function withPlace(yaml: string, field: string, problem: string): LowbitError {
  const file = `format:${readYaml(yaml, "format").lineOf(field)}`;
  return new LowbitError("UNSUPPORTED", problem, { file, field });
}
