/// <reference lib="dom" />
/**
 * Drawings: number lines, bars and curves, as plain SVG that follows the colours of the page.
 *
 * @module
 */

import { numberText, svg } from "./dom.ts";
import type { FormatView } from "./protocol.ts";

/** A drawing with a title that screen readers say. */
function drawing(width: number, height: number, title: string, ...children: Node[]): SVGSVGElement {
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", class: "chart" },
    svg("title", {}, title),
    ...children,
  );
}

/** The values of a format on a line, over the density of what it is tried on. */
export function numberLine(
  values: Float32Array,
  options: { slot: number; id: string; density: readonly number[]; log: boolean; width: number },
): SVGSVGElement {
  const { slot, id, density, log, width } = options;
  const height = 74;
  const finite = [...new Set([...values].filter(Number.isFinite).map((v) => v + 0))];
  const largest = Math.max(...finite.map(Math.abs), Number.MIN_VALUE);
  const smallest = Math.min(...finite.filter((v) => v !== 0).map(Math.abs), largest);
  // Logarithmic on both sides of zero, with zero one octave under the smallest magnitude.
  const octaves = Math.log2(largest / smallest) + 1;
  const place = (v: number) => {
    const size = log && v !== 0
      ? (Math.log2(Math.abs(v) / smallest) + 1) / octaves
      : Math.abs(v) / largest;
    return width / 2 + Math.sign(v) * size * (width / 2 - 14);
  };
  const peak = Math.max(...density);
  const area = density.map((d, i) => {
    const x = 14 + i / (density.length - 1) * (width - 28);
    return `${x.toFixed(1)},${(48 - 44 * d / peak).toFixed(1)}`;
  });
  const dense = finite.length > 40;
  const ticks = finite.map((v) =>
    svg("line", {
      x1: place(v),
      x2: place(v),
      y1: dense ? 26 : 18,
      y2: 48,
      class: `tick slot-${slot}`,
      "stroke-width": finite.length > 100 ? 1 : finite.length > 40 ? 1.5 : 3,
    }, svg("title", {}, numberText(v)))
  );
  const labelled = finite.length <= 9
    ? finite
    : [-largest, 0, largest].filter((v) => finite.includes(v));
  const labels = labelled.sort((a, b) => place(a) - place(b)).filter((v, i, all) =>
    i === 0 || place(v) - place(all[i - 1]) > 34
  ).map((v) =>
    svg("text", {
      x: place(v),
      y: 66,
      "text-anchor": place(v) < 40 ? "start" : place(v) > width - 40 ? "end" : "middle",
    }, numberText(v))
  );
  return drawing(
    width,
    height,
    `Number line of ${id}: ${finite.length} values from ${numberText(Math.min(...finite))} to ${
      numberText(Math.max(...finite))
    }`,
    ...(log
      ? []
      : [svg("polygon", { points: `14,48 ${area.join(" ")} ${width - 14},48`, class: "density" })]),
    svg("line", { x1: 4, x2: width - 4, y1: 48, y2: 48, class: "axis" }),
    ...ticks,
    ...labels,
  );
}

/** Neighbouring numbers before and after, as points: what a lattice or a table can say is seen. */
export function pairsPlot(
  pairs: NonNullable<FormatView["pairs"]>,
  options: { slot: number; id: string; width: number },
): SVGSVGElement {
  const { slot, id } = options, width = Math.min(options.width, 420);
  const all = [...pairs.before, ...pairs.after].flat().map(Math.abs).sort((a, b) => a - b);
  // Outliers beyond the 99.5th percentile would leave the rest a dot.
  const most = all[Math.floor(0.995 * (all.length - 1))] || 1;
  const place = (v: number) => width / 2 + Math.max(-1, Math.min(1, v / most)) * (width / 2 - 8);
  const distinct = new Map(pairs.after.map((pair) => [pair.join(), pair]));
  const dots = (points: Iterable<[number, number]>, r: number, kind: string) =>
    [...points].map(([x, y]) =>
      svg("circle", { cx: place(x).toFixed(1), cy: place(-y).toFixed(1), r, class: kind })
    );
  return drawing(
    width,
    width,
    `Neighbouring numbers of ${id}: ${pairs.before.length} pairs become ${distinct.size} points`,
    svg("line", { x1: 4, x2: width - 4, y1: width / 2, y2: width / 2, class: "axis" }),
    svg("line", { y1: 4, y2: width - 4, x1: width / 2, x2: width / 2, class: "axis" }),
    ...dots(pairs.before, 1.5, "before"),
    ...dots(distinct.values(), 2.5, `after slot-${slot}`),
  );
}

/** A curve of the comparison. */
export interface Curve {
  /** The colour. */
  slot: number;
  /** What it is of. */
  label: string;
  /** Its points. */
  points: [x: number, y: number][];
}

/** Relative error against magnitude, both logarithmic. */
export function errorCurves(curves: readonly Curve[], width: number): SVGSVGElement {
  const [left, right, top, bottom] = [64, 12, 12, 34];
  const height = 250;
  const x = (v: number) => left + (12 + Math.log2(v)) / 12 * (width - left - right);
  const y = (v: number) =>
    top + (Math.log2(1) - Math.log2(Math.min(1, Math.max(v, 2 ** -10)))) / 10 *
      (height - top - bottom);
  const lines = [0, 2, 4, 6, 8, 10].flatMap((e) => [
    svg("line", { x1: left, x2: width - right, y1: y(2 ** -e), y2: y(2 ** -e), class: "grid" }),
    svg(
      "text",
      { x: left - 6, y: y(2 ** -e) + 4, "text-anchor": "end" },
      `${numberText(100 * 2 ** -e, 2)} %`,
    ),
  ]);
  const marks = (width < 480 ? [0, 4, 8, 12] : [0, 2, 4, 6, 8, 10, 12]).map((e) =>
    svg(
      "text",
      { x: x(2 ** -e), y: height - 14, "text-anchor": e === 0 ? "end" : "middle" },
      e === 0 ? "largest" : `/${2 ** e}`,
    )
  );
  return drawing(
    width,
    height,
    `Largest relative error by magnitude of ${curves.map(({ label }) => label).join(", ")}`,
    ...lines,
    ...marks,
    ...curves.map(({ slot, points }) =>
      svg("polyline", {
        points: points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" "),
        class: `curve slot-${slot}`,
      })
    ),
  );
}

/** Size against loss of quality; a point a result. */
export function sizeQuality(
  points: readonly { label: string; bytes: number; kl: number }[],
  width: number,
): SVGSVGElement {
  const [left, right, top, bottom] = [64, 120, 16, 38];
  const height = 260;
  const sizes = points.map(({ bytes }) => bytes / 1e6);
  const losses = points.map(({ kl }) => Math.log10(Math.max(kl, 1e-6)));
  const range = (list: number[], pad: number) => {
    const [low, high] = [Math.min(...list), Math.max(...list)];
    return [low - pad, Math.max(high, low + 1e-9) + pad];
  };
  const [x0, x1] = range(sizes, 0.06 * Math.max(...sizes));
  const [y0, y1] = range(losses, 0.3);
  const x = (v: number) => left + (v - x0) / (x1 - x0) * (width - left - right);
  const y = (v: number) => height - bottom - (v - y0) / (y1 - y0) * (height - top - bottom);
  const powers = [];
  for (let e = Math.ceil(y0); e <= Math.floor(y1); e++) powers.push(e);
  return drawing(
    width,
    height,
    "Size against KL divergence of the results",
    svg("line", {
      x1: left,
      x2: width - right,
      y1: height - bottom,
      y2: height - bottom,
      class: "axis",
    }),
    ...powers.flatMap((e) => [
      svg("line", { x1: left, x2: width - right, y1: y(e), y2: y(e), class: "grid" }),
      svg("text", { x: left - 6, y: y(e) + 4, "text-anchor": "end" }, numberText(10 ** e)),
    ]),
    svg(
      "text",
      { x: left, y: height - 12 },
      `KL divergence against size; ${numberText(Math.min(...sizes), 3)} to ${
        numberText(Math.max(...sizes), 3)
      } MB, better down and left`,
    ),
    ...points.map((_, i) =>
      svg("circle", { cx: x(sizes[i]), cy: y(losses[i]), r: 6, class: "point" })
    ),
    ...apart(points.map(({ label }, i) => ({ label, x: x(sizes[i]) + 10, y: y(losses[i]) + 4 })))
      .map(({ label, x, y }) => svg("text", { x, y }, label)),
  );
}

/** Labels, from the top down, each moved down until it is clear of those before it. */
function apart<T extends { x: number; y: number }>(labels: readonly T[]): T[] {
  const placed: T[] = [];
  for (const label of [...labels].sort((a, b) => a.y - b.y)) {
    let { y } = label;
    const taken = () =>
      placed.some((other) => Math.abs(other.x - label.x) < 120 && Math.abs(other.y - y) < 14);
    while (taken()) y += 2;
    placed.push({ ...label, y });
  }
  return placed;
}
