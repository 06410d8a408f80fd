/** Vector formats in YAML that must be refused: each one clear line with file, line and field. */

import { quantize, testRefusals } from "./refusals.ts";
import type { Temporary } from "./temporary.ts";
import { UNTIED } from "./temporary.ts";

const PAIR = `
id: mine
summary: pairs
family: pair
bits: 4
normal: flint4
outlier: abfloat4
identifier: 8
threshold: 7
survivor: left
scale: { granularity: { kind: channel } }
`;

const GRID = `
id: mine
summary: a grid
family: grid
dimension: 2
bits: 2
points:
  kind: vectors
  values: [[0, 1], [1, 0], [1, 1], [2, 2]]
scale: { granularity: { kind: channel } }
`;

const SIGNED = GRID.replace("bits: 2", "bits: 4").replace("2]]", "2]]\n  signs: free");

const LOOKUP = `
id: mine
summary: tables
family: lookup
dimension: 4
bits: 8
share: { kind: tensor }
`;

const TRELLIS = `
id: mine
summary: a trellis
family: trellis
state: 8
bits: 2
tile: { rows: 1, columns: 16 }
start: zero
code: { kind: 1mad }
scale: { granularity: { kind: channel } }
`;

const BINARY = `
id: mine
summary: planes
family: binary_coding
planes: 3
share: { kind: channel }
`;

/** `formats test` of a document with a part replaced. */
const changed = (text: string, from: string, to: string) => (folder: Temporary) => [
  "formats",
  "test",
  folder.text("f.yaml", text.replace(from, to)),
];

/** Quantises with a format of the user. */
const applied = (text: string) => (folder: Temporary) =>
  quantize(UNTIED, folder, "--format", folder.text("f.yaml", text));

testRefusals([
  [
    "a vector format with an unknown field",
    /^SCHEMA\] DIR\/f.yaml:10: surviver: unknown field; also survivor: .*; did you mean "survivor"\?$/,
    changed(PAIR, "survivor", "surviver"),
  ],
  [
    "a pair whose survivor is neither",
    /^SCHEMA\] DIR\/f.yaml:10: survivor: expected one of "left"\|"larger"; /,
    changed(PAIR, "left", "right"),
  ],
  [
    "a pair with an identifier of too many bits",
    /^SCHEMA\] DIR\/f.yaml:8: identifier: is 16, which has more than 4 bits; /,
    changed(PAIR, "identifier: 8", "identifier: 16"),
  ],
  [
    "a pair whose identifier is a number",
    /^FORMAT\] mine: normal: flint4 uses the code 7, which marks victims$/,
    changed(PAIR, "identifier: 8", "identifier: 7"),
  ],
  [
    "a pair of formats of other bits",
    /^FORMAT\] mine: normal: int8 has 8 bits, the pair has 4 an element$/,
    changed(PAIR, "flint4", "int8"),
  ],
  [
    "a pair of an unknown format",
    /^UNKNOWN_NAME\] unknown number format "flint9"; did you mean "flint3"\?/,
    changed(PAIR, "flint4", "flint9"),
  ],
  [
    "a grid of the wrong size",
    /^SCHEMA\] DIR\/f.yaml:9: points.values: has 4 vectors, expected 8; /,
    changed(GRID, "bits: 2", "bits: 3"),
  ],
  [
    "a grid of the wrong dimension",
    /^SCHEMA\] DIR\/f.yaml:9: points.values: every vector must have 3 elements; /,
    changed(GRID, "dimension: 2", "dimension: 3"),
  ],
  [
    "a grid of vectors that are not finite",
    /^SCHEMA\] DIR\/f.yaml:9: points.values\.?.*: (must be finite|expected number)/,
    changed(GRID, "[2, 2]", "[2, 1e39]"),
  ],
  [
    "a grid with signs and negative magnitudes",
    /^SCHEMA\] DIR\/f.yaml:9: points.values: must not be negative where signs are stored; /,
    changed(SIGNED, "[[0, 1]", "[[0, -1]"),
  ],
  [
    "a scale that is zero",
    /^SCHEMA\] DIR\/f.yaml:10: scale.factors.0: too small: expected number to be >0/,
    changed(GRID, "channel }", "channel }, factors: [0]"),
  ],
  [
    "tables of too many bits",
    /^SCHEMA\] DIR\/f.yaml:6: bits: too big: expected number to be <=16; /,
    changed(LOOKUP, "bits: 8", "bits: 40"),
  ],
  [
    "tables that share blocks of no columns",
    /^SCHEMA\] DIR\/f.yaml:7: share.size: too small: expected number to be >=1; /,
    changed(LOOKUP, "kind: tensor", "kind: group, size: 0"),
  ],
  [
    "tables in a format that cannot be stored",
    /^FORMAT\] mine: entries: numbers of int16 cannot be stored in tables or scales; /,
    changed(LOOKUP, "bits: 8", "bits: 8\nentries: int16"),
  ],
  [
    "facts of tables that are learned",
    /^SCHEMA\] mine: expect: belongs to formats whose table is fixed$/,
    changed(LOOKUP, "bits: 8", "bits: 4\nexpect: { points: 3 }"),
  ],
  [
    "a trellis whose steps are as long as its state",
    /^SCHEMA\] DIR\/f.yaml:5: state: is 2, but a step shifts in 2 bits; /,
    changed(TRELLIS, "state: 8", "state: 2"),
  ],
  [
    "a trellis without the table of its code",
    /^SCHEMA\] DIR\/f.yaml:9: code.values: expected array, received undefined; /,
    changed(TRELLIS, "1mad", "table"),
  ],
  [
    "a trellis code that there is not",
    /^SCHEMA\] DIR\/f.yaml:9: code.kind: /,
    changed(TRELLIS, "1mad", "2mad"),
  ],
  [
    "no planes",
    /^SCHEMA\] DIR\/f.yaml:5: planes: too small: expected number to be >=1; /,
    changed(BINARY, "planes: 3", "planes: 0"),
  ],
  [
    "the id of a vector format of the catalog",
    /^CONFLICT\] DIR\/f.yaml:2: id: e8p is taken, and an id never changes its bytes; /,
    changed(BINARY, "mine", "e8p"),
  ],
  [
    "a matrix that vectors do not divide",
    /^CONFLICT\] rtn-w4g32-mine: blocks.0.attention.query: mine: 16 columns are not a multiple of 12/,
    applied(LOOKUP.replace("dimension: 4", "dimension: 12")),
  ],
  [
    "a vector format for a target that has none",
    /^CONFLICT\] rtn-w4g32-mine: .*: GGUF has no place for vector formats .*; write with --to lowbit; /,
    (folder) => [...applied(BINARY)(folder), "--to", "gguf"],
  ],
  [
    "a vector format by a plugin that has no way to it",
    /^CONFLICT\] gptq-w4g32-mine: .*: is to be in the vector format mine, but no plugin quantises to it /,
    (folder) => {
      const file = folder.text("f.yaml", BINARY);
      return quantize(UNTIED, folder, "--format", file, "--recipe", "gptq-w4g32");
    },
  ],
]);
