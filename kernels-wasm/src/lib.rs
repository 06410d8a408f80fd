//! The kernels of lowbit. This file only wires: each operation lives in a file of its own, as a
//! plain scalar definition (`scalar`, compiled everywhere) and a SIMD128 version (`simd`, wasm
//! only) that equals it bit for bit.
//!
//! Calling convention: numbers and pointers, then `scratch` (memory of the calling thread) and a
//! range `begin..end` of the operation's parallel dimension. Nothing is checked here: `mod.ts` is
//! the only caller and checks every length before it calls.

// wasm-bindgen exports safe functions only; the pointers are the caller's promise, see above
#![cfg_attr(target_arch = "wasm32", feature(asm_experimental_arch))]
#![allow(clippy::not_unsafe_ptr_arg_deref, clippy::missing_safety_doc)]
// kernels take plain numbers, and many of them
#![allow(clippy::too_many_arguments)]

use wasm_bindgen::prelude::wasm_bindgen;

/// Exports an operation as `name` (SIMD) and `name_scalar`, with the same arguments.
macro_rules! op {
    ($name:ident, $scalar:ident, ($($arg:ident: $type:ty),* $(,)?)) => {
        #[cfg(target_arch = "wasm32")]
        #[wasm_bindgen]
        pub fn $name($($arg: $type,)* scratch: *mut u8, begin: usize, end: usize) {
            unsafe { crate::$name::simd($($arg,)* scratch, begin, end) }
        }
        #[wasm_bindgen]
        pub fn $scalar($($arg: $type,)* scratch: *mut u8, begin: usize, end: usize) {
            unsafe { crate::$name::scalar($($arg,)* scratch, begin, end) }
        }
    };
}

pub mod abs_max;
pub mod activate;
pub mod add;
pub mod add_sparse;
pub mod attention;
pub mod attention_cached;
#[cfg(target_arch = "wasm32")]
pub mod attention_simd;
pub mod cache_encode;
pub mod cholesky;
pub mod codes;
pub mod column_panels;
pub mod column_stats;
pub mod convert;
pub mod decode;
pub mod divergence;
pub mod encode;
pub mod encode_feedback;
pub mod encoder;
pub mod exp;
pub mod exports;
pub mod gram;
pub mod group_activations;
pub mod hadamard;
pub mod histogram;
pub mod integer_layout;
pub mod integer_panels;
#[cfg(target_arch = "wasm32")]
pub mod integer_products;
pub mod jacobi;
#[cfg(target_arch = "wasm32")]
pub mod lanes;
pub mod layer_norm;
pub mod linear_binary;
pub mod linear_codebook;
pub mod linear_dense;
pub mod linear_fp6;
pub mod linear_grouped;
pub mod linear_integer;
#[cfg(target_arch = "wasm32")]
pub mod linear_integer_simd;
pub mod linear_packed;
pub mod linear_planes;
pub mod linear_planes_int;
pub mod log_softmax;
pub mod matmul;
pub mod memory;
pub mod narrow;
pub mod pack;
#[cfg(target_arch = "wasm32")]
pub mod packed_columns;
pub mod panels;
pub mod planes;
pub mod pow;
pub mod power;
pub mod product64;
pub mod quantize_activations;
pub mod range;
pub mod reflect;
pub mod rms_norm;
pub mod rope;
pub mod rotate;
pub mod scale_columns;
pub mod segments;
pub mod select;
pub mod silu_gate;
pub mod softmax;
pub mod tile_error;
pub mod token_tiles;
pub mod trailing_update;
pub mod triangular_solve;
pub mod tridiagonal;
pub mod tridiagonal_qr;
pub mod unpack;
pub mod vector64;
pub mod widen;

op!(encode, encode_scalar, (
    x: *const f32, codes: *mut u8, columns: usize, tile_rows: usize, tile_columns: usize,
    grid_columns: usize, scales: *const f32, zeros: *const f32, reciprocal: u32, kind: u32,
    min: f32, max: f32, mask: u32, bias: f32, shift: u32, thresholds: *const u32, step_codes: *const u8,
    index: *const u16, depth: u32,
));
op!(decode, decode_scalar, (
    codes: *const u8, y: *mut f32, columns: usize, tile_rows: usize, tile_columns: usize,
    grid_columns: usize, table: *const f32, mask: u32, scales: *const f32, zeros: *const f32,
));
op!(pack, pack_scalar, (
    codes: *const u8, bytes: *mut u8, bits: u32, unit_length: usize, stride: usize, start: usize,
    halves: u32, offset: u32,
));
op!(unpack, unpack_scalar, (
    codes: *mut u8, bytes: *const u8, bits: u32, unit_length: usize, stride: usize, start: usize,
    halves: u32, offset: u32,
));
op!(range, range_scalar, (
    x: *const f32, rows: usize, columns: usize, tile_rows: usize, tile_columns: usize,
    grid_columns: usize, min: *mut f32, max: *mut f32, extreme: *mut f32,
));
op!(tile_error, tile_error_scalar, (
    x: *const f32, y: *const f32, rows: usize, columns: usize, tile_rows: usize,
    tile_columns: usize, grid_columns: usize, exponent: f64, error: *mut f64,
));
op!(power, power_scalar, (x: *const f32, y: *mut f32, exponent: f64));
op!(narrow, narrow_scalar, (x: *const f32, bytes: *mut u16, brain: u32));
op!(widen, widen_scalar, (bytes: *const u16, y: *mut f32, brain: u32));
op!(token_tiles, token_tiles_scalar, (
    x: *const f32, y: *mut f32, tokens: usize, columns: usize,
));
op!(linear_dense, linear_dense_scalar, (
    x: *const f32, y: *mut f32, tokens: usize, rows: usize, columns: usize, panels: *const f32,
));
op!(linear_packed, linear_packed_scalar, (
    x: *const f32, y: *mut f32, tokens: usize, rows: usize, columns: usize, codes: *const u8,
    bits: u32, table: *const f32, integer: u32, base: i32, scales: *const f32,
    zeros: *const f32, minimums: *const f32, groups: usize, group: usize,
));
op!(quantize_activations, quantize_activations_scalar, (
    x: *const f32, codes: *mut u8, tokens: usize, columns: usize, group: usize, groups: usize,
    per_group: u32, tensor: *const f32, limit: f32, wide: u32, scales: *mut f32, sums: *mut i32,
    factor_of_sums: i32,
));
op!(linear_integer, linear_integer_scalar, (
    q: *const u8, wide: u32, x_scales: *const f32, per_group: u32, sums: *const i32, y: *mut f32,
    tokens: usize, rows: usize, columns: usize, codes: *const u8, bits: u32, table: *const u8,
    scales: *const f32, zeros: *const i16, minimums: *const f32, group: usize, groups: usize,
));
op!(group_activations, group_activations_scalar, (
    x: *const f32, out: *mut f32, sums: *mut f32, tokens: usize, columns: usize, group: usize,
    groups: usize, bits: u32, factor_of_sums: f32,
));
op!(linear_grouped, linear_grouped_scalar, (
    x: *const f32, sums: *const f32, y: *mut f32, tokens: usize, rows: usize, columns: usize,
    codes: *const u8, bits: u32, scales: *const f32, zeros: *const i16, minimums: *const f32, group: usize, groups: usize,
));
op!(trailing_update, trailing_update_scalar, (
    w: *mut f32, rows: usize, columns: usize, start: usize, count: usize, errors: *const f32,
    u: *const f32,
));
op!(column_panels, column_panels_scalar, (
    x: *const f32, y: *mut f32, rows: usize, columns: usize,
));
op!(gram, gram_scalar, (x: *const f32, rows: usize, columns: usize, gram: *mut f64));
op!(column_stats, column_stats_scalar, (
    x: *const f32, rows: usize, columns: usize, abs_max: *mut f32, abs_sum: *mut f64,
));
op!(encode_feedback, encode_feedback_scalar, (
    w: *mut f32, rows: usize, columns: usize, start: usize, count: usize, u: *const f32,
    group_of: *const u32, scales: *const f32, stored: *const f32, zeros: *const f32,
    groups: usize, reciprocal: u32, kind: u32, min: f32, max: f32, mask: u32, bias: f32, shift: u32,
    thresholds: *const u32, step_codes: *const u8, depth: u32, table: *const f32,
    table_mask: u32, codes: *mut u8, errors: *mut f32,
));
op!(rms_norm, rms_norm_scalar, (
    x: *const f32, y: *mut f32, columns: usize, weight: *const f32, epsilon: f64,
));
op!(rope, rope_scalar, (
    x: *mut f32, heads: usize, head_size: usize, position: f64, theta: f64,
));
op!(attention, attention_scalar, (
    q: *const f32, k: *const f32, v: *const f32, y: *mut f32, tokens: usize, past: usize,
    heads: usize, kv_heads: usize, head_size: usize, scale: f32,
));
op!(silu_gate, silu_gate_scalar, (gate: *const f32, up: *const f32, y: *mut f32));
op!(add, add_scalar, (x: *const f32, y: *mut f32));
op!(scale_columns, scale_columns_scalar, (x: *mut f32, columns: usize, factors: *const f32));
op!(log_softmax, log_softmax_scalar, (x: *mut f32, columns: usize));
op!(divergence, divergence_scalar, (
    p: *const f32, q: *const f32, columns: usize, kl: *mut f64, agree: *mut u8,
));
