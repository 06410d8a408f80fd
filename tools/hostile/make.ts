/**
 * Writes the hostile corpus: `deno run -A tools/hostile/make.ts`. One file holds all cases, in base64.
 *
 * @module
 */

import { cases } from "./cases.ts";

/** The corpus as it is committed. */
export function corpus(): string {
  const lines = cases().map(({ reader, name, files, expect }) => {
    const encoded = Object.fromEntries(
      Object.entries(files).map(([file, content]) => {
        const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
        let text = "";
        for (const byte of bytes) text += String.fromCharCode(byte);
        return [file, btoa(text)];
      }),
    );
    return JSON.stringify({ reader, name, files: encoded, expect });
  });
  return `[\n${lines.join(",\n")}\n]\n`;
}

if (import.meta.main) Deno.writeTextFileSync("tests/hostile/corpus.json", corpus());
