/**
 * The methods of the surveys as data: what each does, its equation and what it needs.
 *
 * @module
 */

import { z } from "zod";
import { type Schema, schema } from "../spec/mod.ts";

/** What a method needs beside the weights. */
export const NEEDS = ["activations", "gradients", "training", "search", "model outputs"] as const;

/** A method of the surveys. */
export interface Method {
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
  /** What of lowbit implements it: a plugin, or a number or vector format. */
  plugin?: string;
  /** A preset recipe that runs it. */
  recipe?: string;
  /** The section it belongs to. */
  section: string;
}

/** A file of methods: a section of the atlas. */
export interface MethodFile {
  /** The section. */
  section: string;
  /** Its methods. */
  methods: Omit<Method, "section">[];
}

const method = z.strictObject({
  name: z.string().min(1),
  year: z.number().int().min(2010).max(2030),
  paper: z.string().min(1),
  does: z.string().min(10),
  equation: z.string().min(3),
  needs: z.array(z.enum(NEEDS)).default([]),
  plugin: z.string().optional(),
  recipe: z.string().optional(),
});

/** Reads a file of methods. */
export const methodsSchema: Schema<MethodFile> = schema(
  "methods",
  z.strictObject({
    section: z.string().min(1),
    methods: z.array(method).min(1),
  }),
);
