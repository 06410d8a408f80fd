/**
 * Running another program on one conformance entry: a file of inputs in, a file of outputs out.
 *
 * @module
 */

import type { VectorOutputs } from "../formats/conformance/compare.ts";
import { readTensors, type VectorTensors } from "../formats/conformance/vectors.ts";
import { fileOutput } from "../formats/containers/output.ts";
import { writeSafetensors } from "../formats/containers/safetensors.ts";
import { LowbitError, type VectorEntry, type VectorRole } from "../spec/mod.ts";

/** A program under test. */
export interface Program {
  /** The program and its arguments, with placeholders. */
  words: string[];
  /** How long one run may take. */
  seconds: number;
}

/** What came of a run. */
export interface Outcome {
  /** What it wrote. */
  outputs?: VectorOutputs;
  /** Outputs that it may leave out. */
  optional?: readonly VectorRole[];
  /** Why there are no outputs. */
  problem?: string;
  /** Why the program refused the entry, by its exit code 77. */
  skipped?: string;
}

/** The exit code of a program that does not do an entry. */
const DOES_NOT = 77;

/** The names in braces in a command. */
export function placeholders(words: readonly string[]): Set<string> {
  return new Set([...words.join(" ").matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
}

/** Runs the program on the inputs of an entry. */
export async function runProgram(
  program: Program,
  entry: VectorEntry,
  tensors: VectorTensors,
): Promise<Outcome> {
  const folder = await Deno.makeTempDir({ prefix: "lowbit_conform_" });
  try {
    const files = {
      in: `${folder}/in.safetensors`,
      out: `${folder}/out.safetensors`,
      definition: entry.definition && `${folder}/definition.json`,
    };
    if (files.definition) {
      await Deno.writeTextFile(files.definition, JSON.stringify(entry.definition));
    }
    await writeInputs(files.in, entry, tensors);
    const words = fill(program.words, {
      ...files,
      id: entry.id,
      name: entry.name,
      kind: entry.kind,
      bits: entry.bits,
      rounding: entry.cast?.rounding,
      overflow: entry.cast?.overflow,
      scale_rule: entry.scale?.rule,
    });
    const problem = await finish(words, program.seconds);
    if (problem !== undefined) return problem;
    return await readOutputs(files.out);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Fills placeholders in; a word whose placeholder has no value is left out. */
function fill(words: string[], values: Record<string, string | number | undefined>): string[] {
  const filled: string[] = [];
  for (const word of words) {
    const names = [...placeholders([word])];
    const unknown = names.find((name) => !(name in values));
    if (unknown !== undefined) {
      throw new LowbitError("USAGE", `--exec has an unknown placeholder {${unknown}}`, {
        advice: `there are ${Object.keys(values).map((name) => `{${name}}`).join(" ")}`,
      });
    }
    if (names.some((name) => values[name] === undefined)) continue;
    filled.push(word.replace(/\{(\w+)\}/g, (_, name) => String(values[name])));
  }
  return filled;
}

/** Tensors that a program is given: inputs of a cast, or what a layout has to pack or unpack. */
async function writeInputs(
  path: string,
  entry: VectorEntry,
  tensors: VectorTensors,
): Promise<void> {
  const roles: VectorRole[] = entry.kind !== "layout"
    ? ["x"]
    : tensors.codes
    ? ["codes", "scales", "zeros"]
    : ["bytes"];
  const parts = roles.flatMap((role) => {
    const tensor = tensors[role];
    return tensor ? [{ name: role === "x" ? "x" : `x.${role}`, ...tensor }] : [];
  });
  const output = await fileOutput(path);
  const entries = parts.map(({ name, type, shape }) => ({ name, type, shape: [...shape] }));
  const writer = await writeSafetensors(await output.file(path), entries);
  for (const { name, bytes } of parts) await writer.write(name, bytes);
  await writer.finish();
  await output.commit();
}

/** Runs to the end; what went wrong, or nothing. */
async function finish(words: string[], seconds: number): Promise<Outcome | undefined> {
  const [command, ...args] = words;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), seconds * 1000);
  try {
    const { code, signal, stderr } = await new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      signal: limit.signal,
    }).output();
    if (limit.signal.aborted) return { problem: `ran longer than ${seconds} seconds` };
    if (code === 0) return undefined;
    const text = new TextDecoder().decode(stderr).trim().split("\n").at(-1) ?? "";
    if (code === DOES_NOT) return { skipped: text || "the program does not do it" };
    const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
    return { problem: `the program ${how}${text ? `: ${text.slice(0, 200)}` : ""}` };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new LowbitError("NOT_FOUND", "there is no such program", {
        file: command,
        advice: "--exec starts a program, without a shell",
      });
    }
    if (error instanceof Deno.errors.NotCapable || error instanceof Deno.errors.PermissionDenied) {
      throw new LowbitError("IO", "may not be started", {
        file: command,
        advice: "formats conform --exec needs --allow-run",
      });
    }
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function readOutputs(path: string): Promise<Outcome> {
  try {
    const tensors = await readTensors(path);
    const outputs: VectorOutputs = {};
    for (const [name, tensor] of tensors) {
      if (name.startsWith("x.")) outputs[name.slice(2) as VectorRole] = tensor.values;
    }
    if (Object.keys(outputs).length === 0) {
      const names = [...tensors.keys()].slice(0, 4).join(", ");
      return { problem: `the program wrote no x.codes and no x.values, but: ${names}` };
    }
    // A cast need not know the whole table, and a packer need not unpack.
    return { outputs, optional: ["table", ...layoutOptional(outputs)] };
  } catch (error) {
    if (!(error instanceof LowbitError)) throw error;
    return error.code === "NOT_FOUND"
      ? { problem: "the program wrote no file {out}" }
      : { problem: `the program wrote no readable safetensors file: ${error.problem}` };
  }
}

function layoutOptional(outputs: VectorOutputs): VectorRole[] {
  return outputs.bytes ? ["codes", "scales", "zeros", "values"] : [];
}
