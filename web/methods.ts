/**
 * The methods of the surveys as data: what each does, its equation and what it needs.
 *
 * @module
 */

import { z } from "zod";
import { type Schema, schema } from "../spec/mod.ts";

/** What a method needs beside the weights. */
export const NEEDS = ["activations", "gradients", "training", "search", "model outputs"] as const;

/** A method as its file has it. */
export interface MethodEntry {
  /** The name it was published under. */
  name: string;
  /** Year of the first publication. */
  year: number;
  /** The arXiv id, or where else it was published. */
  paper: string;
  /** One sentence: what it does. */
  does: string;
  /** Its equation, in the notation of `mathml.ts`. */
  equation: string;
  /** What it needs beside the weights. */
  needs: (typeof NEEDS)[number][];
  /** The plugin; the name in kebab case if absent. It need not be there yet. */
  plugin?: string;
  /** The number format that it is. */
  format?: string;
  /** The vector format that it is. */
  vector?: string;
  /** The scheme that it is. */
  scheme?: string;
  /** The layout that it is. */
  layout?: string;
}

/** A method as the page has it. */
export interface Method extends MethodEntry {
  /** The section that it belongs to. */
  section: string;
  /** What of lowbit implements it, in words; absent if nothing does yet. */
  has?: string;
  /** What runs it on the shipped model: a preset's name, or a recipe in YAML. */
  recipe?: string;
  /** The name of that recipe, or what stands for it in tables. */
  runs?: string;
  /** The key/value cache that runs it, where it is one. */
  cache?: string;
  /** Why it cannot be run on the shipped model. */
  idle?: string;
  /** Measured recipes start with this. */
  figures?: string;
}

/** A file of methods: a section of the atlas. */
export interface MethodFile {
  /** The section. */
  section: string;
  /** Its methods. */
  methods: MethodEntry[];
}

const method = z.strictObject({
  name: z.string().min(1),
  year: z.number().int().min(2010).max(2030),
  paper: z.string().min(1),
  does: z.string().min(10),
  equation: z.string().min(3),
  needs: z.array(z.enum(NEEDS)).default([]),
  plugin: z.string().optional(),
  format: z.string().optional(),
  vector: z.string().optional(),
  scheme: z.string().optional(),
  layout: z.string().optional(),
});

/** Reads a file of methods. */
export const methodsSchema: Schema<MethodFile> = schema(
  "methods",
  z.strictObject({ section: z.string().min(1), methods: z.array(method).min(1) }),
);
