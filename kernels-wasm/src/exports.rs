//! Exports of linear algebra in f64, transforms, products by look-up, the quantised cache and
//! conversions; see the top of the crate.

use crate::attention_cached::Side;
use wasm_bindgen::prelude::wasm_bindgen;

op!(hadamard, hadamard_scalar, (
    x: *mut f32, m: usize, block: usize, masks: *const u32, before: *const f32,
    after: *const f32, factor: f32,
));
op!(tridiagonal, tridiagonal_scalar, (a: *mut f64, n: usize, k: usize, work: *mut f64));
op!(rotate, rotate_scalar, (z: *mut f64, n: usize, rotations: *const f64, count: usize));
op!(reflect, reflect_scalar, (
    u: *const f64, width: usize, beta: *const f64, first: usize, last: usize, offset: usize,
    z: *mut f64, rows: usize, top: usize,
));
op!(product64, product64_scalar, (
    a: *const f64, b: *const f64, y: *mut f64, inner: usize, columns: usize, transposed: u32,
));
op!(jacobi, jacobi_scalar, (
    c: *mut f64, z: *mut f64, rows: usize, width: usize, round: usize,
    squares: *mut f64, moved: *mut u8,
));
op!(triangular_solve, triangular_solve_scalar, (
    l: *const f64, n: usize, b: *mut f64, columns: usize, transposed: u32,
));
op!(matmul, matmul_scalar, (
    x: *const f32, row: usize, step: usize, w: *const f32, y: *mut f32, tokens: usize,
    inner: usize, columns: usize,
));
op!(layer_norm, layer_norm_scalar, (
    x: *const f32, y: *mut f32, columns: usize, weight: *const f32, bias: *const f32, epsilon: f64,
));
op!(softmax, softmax_scalar, (x: *mut f32, columns: usize));
op!(activate, activate_scalar, (x: *const f32, y: *mut f32, kind: u32));
op!(abs_max, abs_max_scalar, (x: *const f32, columns: usize, y: *mut f32));
op!(linear_planes, linear_planes_scalar, (
    x: *const f32, y: *mut f32, tokens: usize, rows: usize, columns: usize, bits: *const u8,
    planes: usize, group: usize, groups: usize, alphas: *const f32, offsets: *const f32,
));
op!(linear_planes_int, linear_planes_int_scalar, (
    x: *const i8, y: *mut i32, tokens: usize, rows: usize, columns: usize, bits: *const u8,
    planes: usize, factors: *const i32, offset: i32,
));
op!(linear_binary, linear_binary_scalar, (
    x: *const u8, x_scales: *const f32, w: *const u8, w_scales: *const f32, y: *mut f32,
    tokens: usize, rows: usize, columns: usize,
));
op!(linear_fp6, linear_fp6_scalar, (
    x: *const f32, y: *mut f32, tokens: usize, rows: usize, columns: usize, high: *const u8,
    low: *const u8, mantissa: u32, scales: *const f32,
));
op!(linear_codebook, linear_codebook_scalar, (
    x: *const f32, y: *mut f32, tokens: usize, rows: usize, columns: usize, codes: *const u8,
    wide: u32, books: usize, tables: *const f32, entries: usize, dim: usize, scales: *const f32,
    groups: usize, group: usize,
));
op!(attention_cached, attention_cached_scalar, (
    q: *const f32, y: *mut f32, tokens: usize, past: usize, heads: usize, kv_heads: usize,
    head_size: usize, scale: f32, keys: *const Side, values: *const Side,
));
op!(convert, convert_scalar, (x: *const u8, y: *mut u8, kind: u32, factor: f32));

/// Positions of one side of a cache, decoded.
#[wasm_bindgen]
pub fn cache_decode(side: *const Side, begin: usize, end: usize, out: *mut f32) {
    unsafe { crate::attention_cached::decode_rows(side, begin, end, out) }
}
