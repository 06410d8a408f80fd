/**
 * The compute shaders: weight-only products with a weight of packed codes.
 *
 * @module
 */

/** Tokens of one workgroup of {@linkcode GEMV}. */
export const GEMV_TOKENS = 4;
/** Tokens and rows of one workgroup of {@linkcode GEMM}. */
export const GEMM_TILE = 16;
/** The most workgroups of one dimension. */
export const MAX_GROUPS = 65535;

/**
 * What both shaders begin with. `BITS` is the width of a code; a row of codes is a stream of bits in
 * whole 32-bit words, so that a code may lie in two of them. `p` holds two vectors: rows, columns,
 * tokens, words of a row; rows of a tile, columns of a tile, tiles of a row, and what `shifts` are:
 * nothing (0), zero points (1) or minimums (2).
 */
const WEIGHT = `
override BITS: u32;
@group(0) @binding(0) var<uniform> p: array<vec4u, 2>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> shifts: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

fn weight(row: u32, column: u32) -> f32 {
  let bit = column * BITS;
  let word = row * p[0].w + bit / 32u;
  let shift = bit % 32u;
  var code = codes[word] >> shift;
  if (shift + BITS > 32u) { code |= codes[word + 1u] << (32u - shift); }
  let tile = row / p[1].x * p[1].z + column / p[1].y;
  var value = table[code & ((1u << BITS) - 1u)];
  if (p[1].w == 1u) { value -= shifts[tile]; }
  value *= scales[tile];
  if (p[1].w == 2u) { value += shifts[tile]; }
  return value;
}
`;

/** A row and four tokens a workgroup; its threads share the columns and add their sums as a tree. */
export const GEMV = `${WEIGHT}
const THREADS = 64u;
var<workgroup> sums: array<vec4f, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * ${MAX_GROUPS}u + group.x;
  let first = group.z * ${GEMV_TOKENS}u;
  var sum = vec4f(0.0);
  if (row < p[0].x) {
    for (var column = thread; column < p[0].y; column += THREADS) {
      let w = weight(row, column);
      for (var t = 0u; t < ${GEMV_TOKENS}u; t++) {
        if (first + t < p[0].z) { sum[t] += w * x[(first + t) * p[0].y + column]; }
      }
    }
  }
  sums[thread] = sum;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { sums[thread] += sums[thread + half]; }
  }
  if (thread == 0u && row < p[0].x) {
    for (var t = 0u; t < ${GEMV_TOKENS}u; t++) {
      if (first + t < p[0].z) { y[(first + t) * p[0].x + row] = sums[0][t]; }
    }
  }
}
`;

/** 16 rows by 16 tokens a workgroup; weights and inputs of 16 columns at a time are shared. */
export const GEMM = `${WEIGHT}
const TILE = ${GEMM_TILE}u;
var<workgroup> w: array<array<f32, TILE>, TILE>;
var<workgroup> inputs: array<array<f32, TILE>, TILE>;

@compute @workgroup_size(TILE, TILE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let row = group.x * TILE + local.x;
  let token = group.y * TILE + local.y;
  let loaded = group.x * TILE + local.y;
  var total = 0.0;
  for (var first = 0u; first < p[0].y; first += TILE) {
    let column = first + local.x;
    w[local.x][local.y] = 0.0;
    inputs[local.y][local.x] = 0.0;
    if (column < p[0].y && loaded < p[0].x) { w[local.x][local.y] = weight(loaded, column); }
    if (column < p[0].y && token < p[0].z) { inputs[local.y][local.x] = x[token * p[0].y + column]; }
    workgroupBarrier();
    var sum = 0.0;
    for (var k = 0u; k < TILE; k++) { sum += inputs[local.y][k] * w[k][local.x]; }
    total += sum;
    workgroupBarrier();
  }
  if (row < p[0].x && token < p[0].z) { y[token * p[0].x + row] = total; }
}
`;
