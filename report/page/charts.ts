/// <reference lib="dom" />
/**
 * The charts of the page. The one module that sees the chart library.
 *
 * @module
 */

import * as Plot from "@observablehq/plot";
import type { Comparison, Entry, Grid, Histogram } from "../../compare/document.ts";

/** A chart, drawn for a width in pixels. */
export type Chart = (width: number) => Element;

const ACCENT = "var(--accent)", FRONT = "var(--front)", FAINT = "var(--faint)";

function plot(label: string, options: Plot.PlotOptions): Element {
  const element = Plot.plot({
    marginTop: 28,
    marginBottom: 42,
    ...options,
    style: { background: "transparent", color: "var(--ink)", fontSize: "12px" },
    ariaLabel: label,
  } as Plot.PlotOptions);
  const svg = element.tagName === "svg" ? element : element.querySelector("svg:last-of-type");
  svg?.setAttribute("role", "img");
  return element;
}

/** Size against a figure; the front is joined by a line. */
export function paretoChart(comparison: Comparison, figure: "kl" | "perplexity"): Chart {
  const { entries, reference, model } = comparison;
  const label = figure === "kl" ? "KL divergence, nats" : "Perplexity";
  const points = entries.map((entry) => ({
    name: entry.name,
    size: entry.bytes / 1e6,
    value: entry.figures[figure],
    error: entry.figures[`${figure}_standard_error`] ?? 0,
    front: entry.pareto[figure],
  }));
  const front = points.filter(({ front }) => front).toSorted((a, b) => a.size - b.size);
  // KL spans orders of magnitude; a logarithm needs positive values.
  const log = figure === "kl" && points.every(({ value }) => value > 0);
  const floor = Math.min(...points.map(({ value }) => value)) / 2;
  return (width) => {
    // Names stand above and below in turn; what is too close together has its name in the tip.
    const named = legible(points.length > 14 || width < 500 ? front : points, log)
      .toSorted((a, b) => a.size - b.size);
    return plot(`${label} against size of ${entries.length} recipes`, {
      width,
      height: Math.max(320, Math.min(460, width * 0.55)),
      marginLeft: 56,
      marginRight: 24,
      insetTop: 18,
      insetBottom: 10,
      x: { label: "Size, MB", grid: true, nice: true },
      y: { label, grid: true, nice: !log, type: log ? "log" : "linear", tickFormat: "~g" },
      marks: [
        ...(figure === "perplexity"
          ? [
            Plot.ruleY([reference.perplexity], { stroke: FAINT, strokeDasharray: "4 3" }),
            Plot.text([`full precision, ${(model.bytes / 1e6).toFixed(1)} MB`], {
              y: reference.perplexity,
              frameAnchor: "right",
              dy: 10,
              fill: FAINT,
            }),
          ]
          : []),
        Plot.ruleX(points, {
          x: "size",
          y1: (d: typeof points[0]) => log ? Math.max(floor, d.value - d.error) : d.value - d.error,
          y2: (d: typeof points[0]) => d.value + d.error,
          stroke: FAINT,
          strokeWidth: figure === "kl" ? 1.5 : 0,
        }),
        Plot.line(front, { x: "size", y: "value", stroke: FRONT, strokeWidth: 2 }),
        Plot.dot(points, {
          x: "size",
          y: "value",
          r: 5,
          fill: (d: typeof points[0]) => d.front ? FRONT : ACCENT,
          symbol: (d: typeof points[0]) => d.front ? "circle" : "diamond",
        }),
        Plot.text(named, {
          x: "size",
          y: "value",
          text: "name",
          dy: -12,
          filter: (_: unknown, i: number) => i % 2 === 0,
          fill: "var(--ink)",
          stroke: "var(--card)",
          strokeWidth: 4,
        }),
        Plot.text(named, {
          x: "size",
          y: "value",
          text: "name",
          dy: 14,
          filter: (_: unknown, i: number) => i % 2 === 1,
          fill: "var(--ink)",
          stroke: "var(--card)",
          strokeWidth: 4,
        }),
        Plot.tip(
          points,
          Plot.pointer({
            x: "size",
            y: "value",
            title: (d: typeof points[0]) =>
              `${d.name}\n${d.size.toFixed(2)} MB\n${label} ${d.value.toPrecision(5)}`,
            fill: "var(--card)",
          }),
        ),
      ],
    });
  };
}

/** Points whose names are not over those of others; who is on the front goes first. */
function legible<T extends { size: number; value: number; front: boolean }>(
  points: readonly T[],
  log: boolean,
): T[] {
  const height = ({ value }: T) => log ? Math.log(value) : value;
  const range = (of: (point: T) => number) => {
    const all = points.map(of);
    return Math.max(...all) - Math.min(...all) || 1;
  };
  const [wide, high] = [range(({ size }) => size), range(height)];
  const kept: T[] = [];
  for (const point of points.toSorted((a, b) => Number(b.front) - Number(a.front))) {
    const near = kept.some((other) =>
      Math.abs(other.size - point.size) / wide < 0.1 &&
      Math.abs(height(other) - height(point)) / high < 0.12
    );
    if (!near) kept.push(point);
  }
  return kept;
}

/** Signal to noise by block and role. */
export function errorChart({ linears, name }: Entry): Chart {
  const roles = [...new Set(linears.map(({ role }) => role))];
  const blocks = [...new Set(linears.map(({ block }) => block))];
  const few = blocks.length <= 12;
  const decibels = linears.map(({ sqnr_db }) => sqnr_db);
  const middle = (Math.min(...decibels) + Math.max(...decibels)) / 2;
  return (width) =>
    plot(`Signal to quantisation noise by block and role, ${name}`, {
      width,
      height: 70 + roles.length * 28,
      marginLeft: 118,
      padding: 0.04,
      x: {
        label: "Block",
        type: "band",
        tickSize: 0,
        ticks: few ? undefined : blocks.filter((b) => b % 5 === 0),
      },
      y: { label: null, domain: roles, type: "band", tickSize: 0 },
      color: { type: "linear", scheme: "Viridis", label: "SQNR, dB", legend: true },
      marks: [
        Plot.cell(linears, { x: "block", y: "role", fill: "sqnr_db" }),
        ...(few && width > 420
          ? [Plot.text(linears, {
            x: "block",
            y: "role",
            text: (d: Entry["linears"][0]) => d.sqnr_db.toFixed(1),
            fill: (d: Entry["linears"][0]) => d.sqnr_db > middle ? "#000" : "#fff",
          })]
          : []),
        Plot.tip(
          linears,
          Plot.pointer({
            x: "block",
            y: "role",
            title: (d: Entry["linears"][0]) =>
              `blocks.${d.block}.${d.role}\n${d.sqnr_db} dB\n${d.bits} bits a weight`,
            fill: "var(--card)",
          }),
        ),
      ],
    });
}

function bins({ start, width, counts }: Histogram) {
  return counts.map((count, i) => ({ x1: start + i * width, x2: start + (i + 1) * width, count }));
}

/** Shares of all values, per unit. */
function density(histogram: Histogram) {
  const total = histogram.counts.reduce((a, b) => a + b, 0) * histogram.width;
  return bins(histogram).map((bin) => ({ ...bin, count: bin.count / total }));
}

/** Weights before and after. */
export function weightChart(original: Histogram, entry: Entry): Chart {
  const before = density(original), after = entry.tensor ? density(entry.tensor.restored) : [];
  const cap = Math.max(...before.map(({ count }) => count)) * 1.6;
  const clipped = after.map((bin) => ({ ...bin, count: Math.min(bin.count, cap) }));
  return (width) =>
    plot(`Distribution of weights, full precision and ${entry.name}`, {
      width,
      height: 260,
      marginLeft: 56,
      x: { label: "Weight" },
      y: { label: "Density", grid: true, tickFormat: "~s" },
      marks: [
        Plot.rectY(clipped, { x1: "x1", x2: "x2", y: "count", fill: ACCENT, fillOpacity: 0.55 }),
        Plot.line(before, {
          x: (d: typeof before[0]) => (d.x1 + d.x2) / 2,
          y: "count",
          curve: "step",
          stroke: FRONT,
          strokeWidth: 2,
        }),
        Plot.ruleY([0]),
      ],
    });
}

/** The values of a format on a line, and how often each code occurs. */
export function codeChart({ tensor, name }: Entry): Chart | undefined {
  if (!tensor?.values || !tensor.counts) return undefined;
  const { values, counts, element } = tensor;
  const codes = values.flatMap((value, code) =>
    value === null ? [] : [{ value, count: counts[code], code }]
  );
  return (width) =>
    plot(`How often each code of ${element} occurs, ${name}`, {
      width,
      height: 260,
      marginLeft: 56,
      x: { label: `Value of a code (${element})` },
      y: { label: "Weights with the code", grid: true, tickFormat: "~s" },
      marks: [
        Plot.ruleX(codes, {
          x: "value",
          y: "count",
          stroke: ACCENT,
          strokeWidth: Math.max(1.5, Math.min(10, (width - 90) / codes.length / 1.6)),
        }),
        Plot.tickX(codes.length > 64 ? [] : codes, {
          x: "value",
          stroke: FRONT,
          insetTop: 214,
          strokeWidth: 1.5,
        }),
        Plot.ruleY([0]),
        Plot.tip(
          codes,
          Plot.pointerX({
            x: "value",
            y: "count",
            title: (d: typeof codes[0]) => `code ${d.code}: ${d.value}\n${d.count} weights`,
            fill: "var(--card)",
          }),
        ),
      ],
    });
}

/** The scales of a tensor. */
export function scaleChart({ tensor, name }: Entry): Chart | undefined {
  if (!tensor?.scales) return undefined;
  const data = bins(tensor.scales);
  return (width) =>
    plot(`Scales of ${name}`, {
      width,
      height: 220,
      marginLeft: 56,
      x: { label: "Binary logarithm of the scale" },
      y: { label: "Scales in a bin", grid: true, tickFormat: "~s" },
      marks: [
        Plot.rectY(data, { x1: "x1", x2: "x2", y: "count", fill: ACCENT }),
        Plot.ruleY([0]),
      ],
    });
}

/** Magnitudes of inputs over their median, tokens down and channels across. */
export function gridChart(grid: Grid, label: string, top: number): Chart {
  const middle = medianOf(grid);
  const cells = grid.values.map((value, i) => ({
    token: Math.floor(i / grid.columns),
    channel: Math.floor((i % grid.columns) * grid.channels / grid.columns),
    value: value / middle,
  }));
  const across = grid.channels / grid.columns;
  return (width) =>
    plot(label, {
      width,
      height: 270,
      marginLeft: 44,
      x: { label: "Channel", domain: [0, grid.channels] },
      y: { label: "Token", reverse: true, domain: [grid.rows, 0] },
      color: {
        scheme: "Inferno",
        domain: [0, top],
        clamp: true,
        legend: true,
        label: "Magnitude over the median",
      },
      marks: [
        Plot.rect(cells, {
          x1: "channel",
          x2: (d: typeof cells[0]) => d.channel + across,
          y1: "token",
          y2: (d: typeof cells[0]) => d.token + 1,
          fill: "value",
          inset: -0.3,
        }),
      ],
    });
}

/** The median magnitude of a grid. */
export function medianOf({ values }: Grid): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] || 1;
}

/** Memory over the time of a run, by stage. */
export function timeChart({ timeline, name }: Entry): Chart {
  const stages = timeline.map((moment, i) => ({
    x1: timeline[i - 1]?.seconds ?? 0,
    x2: moment.seconds,
    stage: moment.stage,
    mb: moment.rss_bytes / 1e6,
  })).slice(1);
  return (width) =>
    plot(`Memory over time, ${name}`, {
      width,
      height: 240,
      marginLeft: 56,
      x: { label: "Seconds" },
      y: { label: "Resident memory, MB", grid: true, zero: true },
      color: { legend: true, scheme: "Set2" },
      marks: [
        Plot.rectY(stages, { x1: "x1", x2: "x2", y: "mb", fill: "stage" }),
        Plot.ruleY([0]),
      ],
    });
}
