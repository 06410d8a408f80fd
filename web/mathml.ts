/**
 * Equations as one line of text, for MathML: `_` and `^` take the next item, `{}` groups, and
 * `frac{}{}`, `sqrt{}`, `hat{}`, `bar{}`, `tilde{}` are what they say. Letters that stand together
 * are one name; everything else is itself.
 *
 * @module
 */

/** An element of MathML. */
export interface MathNode {
  /** Its name. */
  tag: string;
  /** Its text, or what is in it. */
  content: string | MathNode[];
}

const TOKEN = /"[^"]*"|\p{L}+|\d+(?:\.\d+)?|\S/gu;
const THIN = "\u2009";
const ACCENTS: Record<string, string> = { hat: "^", bar: "¯", tilde: "~" };

/**
 * The tree of an equation. An error names what is missing.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseMath } from "./mathml.ts";
 * assertEquals(parseMath("x_i").content, [{
 *   tag: "msub",
 *   content: [{ tag: "mi", content: "x" }, { tag: "mi", content: "i" }],
 * }]);
 * ```
 */
export function parseMath(text: string): MathNode {
  const tokens = text.match(TOKEN) ?? [];
  let at = 0;
  const node = (tag: string, ...content: MathNode[]): MathNode => ({ tag, content });
  const row = (end?: string): MathNode => {
    const items: MathNode[] = [];
    while (at < tokens.length && tokens[at] !== end) {
      const name = /^\p{L}{2}/u.test(tokens[at]) && !(tokens[at] in ACCENTS);
      items.push(scripted());
      // A name of several letters stands apart from what it is applied to.
      if (name && /^[\p{L}\d|]/u.test(tokens[at] ?? "")) {
        items.push({ tag: "mtext", content: THIN });
      }
    }
    if (end !== undefined && tokens[at++] !== end) throw new Error(`${end} is missing: ${text}`);
    return node("mrow", ...items);
  };
  const group = (): MathNode => {
    if (tokens[at++] !== "{") throw new Error(`{ is missing: ${text}`);
    return row("}");
  };
  const item = (): MathNode => {
    const token = tokens[at++];
    if (token === undefined) throw new Error(`ends too early: ${text}`);
    if (token === "{") return row("}");
    if (token === "(") {
      // Scripts behind a bracket belong to all of it.
      const operator = (content: string): MathNode => ({ tag: "mo", content });
      return node("mrow", operator("("), ...row(")").content as MathNode[], operator(")"));
    }
    if (token === "frac") return node("mfrac", group(), group());
    if (token === "sqrt") return node("msqrt", group());
    if (token in ACCENTS) return node("mover", group(), { tag: "mo", content: ACCENTS[token] });
    if (token.startsWith('"')) return { tag: "mtext", content: token.slice(1, -1) };
    if (/^\p{L}/u.test(token)) return { tag: "mi", content: token };
    return { tag: /^\d/.test(token) ? "mn" : "mo", content: token === "-" ? "−" : token };
  };
  const scripted = (): MathNode => {
    const base = item();
    const scripts: { "_"?: MathNode; "^"?: MathNode } = {};
    while (tokens[at] === "_" || tokens[at] === "^") {
      const kind = tokens[at++] as "_" | "^";
      if (scripts[kind]) throw new Error(`two ${kind} in a row: ${text}`);
      scripts[kind] = item();
    }
    const { "_": sub, "^": sup } = scripts;
    if (sub && sup) return node("msubsup", base, sub, sup);
    if (sub) return node("msub", base, sub);
    return sup ? node("msup", base, sup) : base;
  };
  const tree = row();
  return { tag: "math", content: tree.content };
}
