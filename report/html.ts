/**
 * A comparison as one HTML file: the page, its charts and the figures, with nothing to fetch.
 *
 * @module
 */

import type { Comparison, Entry } from "../compare/document.ts";
import { PAGE_SCRIPT, PAGE_STYLE } from "./lib/page.js";

/** The most bytes of a report; details are left out above it, and the page says so. */
const MOST = 1_900_000;

/** The page of a comparison. */
export function reportHtml(comparison: Comparison): string {
  let html = "";
  for (const leave of STEPS) {
    html = page({ ...comparison, entries: comparison.entries.map(leave) });
    if (html.length < MOST) break;
  }
  return html;
}

/** What is left out of entries, step by step, until the page is small enough. */
const STEPS: readonly ((entry: Entry, index: number) => Entry)[] = [
  (entry) => entry,
  (entry) => ({ ...entry, receipt: { ...entry.receipt, tensors: [] } }),
  (entry, i) => i < 12 ? STEPS[1](entry, i) : { ...STEPS[1](entry, i), activations: undefined },
  (entry, i) => i < 12 ? STEPS[2](entry, i) : { ...STEPS[2](entry, i), timeline: [] },
  (entry, i) => i < 12 ? STEPS[3](entry, i) : { ...STEPS[3](entry, i), tensor: undefined },
  (entry, i) => ({ ...STEPS[4](entry, i), linears: i < 40 ? entry.linears : [] }),
];

function page(comparison: Comparison): string {
  // No text of a recipe or file name can end the script element.
  const data = JSON.stringify(comparison).replaceAll("<", "\\u003c");
  const title = escape(`${comparison.model.name}: ${comparison.entries.length} recipes`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${title}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main id="report"><h1>${title}</h1><noscript>The charts of this page need JavaScript; its figures are the JSON at its end.</noscript></main>
<script type="application/json" id="data">${data}</script>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
