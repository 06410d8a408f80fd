//! `y = x W^T` in integers: activations of `quantize_activations`, a weight of `integer_panels`.
//! Parallel over panels.
//!
//! The sum over a group, `sum (u - zero) q`, is exact in 32 bits: u and zero are at most 255, q at
//! most 127 in magnitude, and a group has at most 65536 columns, so that every partial sum stays
//! below 255 * 127 * 65536 < 2^31. Then, in f32, groups ascending: `total += sum * weight scale`,
//! (with minimums `sum * weight scale + minimum * sum of q`),
//! with scales of activations by group `total += (sum * weight scale) * activation scale`,
//! otherwise at the end `y = total * activation scale`.
//!
//! Activations of `wide` calls are 16 bits each, others 8. The SIMD128 version takes wide ones; the
//! relaxed version (`relaxed.rs`) the others, with u of up to 7 bits.
//!
//! With a `table` of 16 bytes, u is its entry for the code (1 to 4 bits); else the code.
//!
//! Scales, zero points and minimums are `[panel][group][16]`. `sums` holds the negative sums of the
//! activations of every group; without zero points, times the zero point that all groups have; with
//! minimums, it holds the sums.

use crate::integer_layout::{activation as position, blocks, code_of, PANEL};

/// The integer of a code.
unsafe fn value_of(code: i32, table: *const u8) -> i32 {
    if table.is_null() {
        code
    } else {
        *table.add(code as usize) as i32
    }
}

/// The definition.
pub unsafe fn scalar(
    q: *const u8,
    wide: u32,
    x_scales: *const f32,
    per_group: u32,
    sums: *const i32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    codes: *const u8,
    bits: u32,
    table: *const u8,
    scales: *const f32,
    zeros: *const i16,
    minimums: *const f32,
    group: usize,
    groups: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let all = blocks(columns, group, groups);
    let size = PANEL * bits as usize;
    for r in begin * PANEL..(end * PANEL).min(rows) {
        let panel = codes.add(r / PANEL * all * size);
        for t in 0..tokens {
            let mut total = 0.0;
            for g in 0..groups {
                let first = g * group.div_ceil(8);
                let mut sum = 0i32;
                for c in 0..group.min(columns - g * group) {
                    let at = position(t, tokens, first * 8 + c, all * 8, wide != 0);
                    let x = if wide != 0 {
                        *(q as *const i16).add(at) as i32
                    } else {
                        *(q as *const i8).add(at) as i32
                    };
                    let code = code_of(panel.add((first + c / 8) * size), r % PANEL, c % 8, bits);
                    sum += x * value_of(code, table);
                }
                let at = (r / PANEL * groups + g) * PANEL + r % PANEL;
                let zero = if zeros.is_null() {
                    1
                } else {
                    *zeros.add(at) as i32
                };
                let inputs = *sums.add(t * groups + g);
                let product = if minimums.is_null() {
                    sum = sum.wrapping_add(zero.wrapping_mul(inputs));
                    sum as f32 * *scales.add(at)
                } else {
                    sum as f32 * *scales.add(at) + *minimums.add(at) * inputs as f32
                };
                total += if per_group != 0 {
                    product * *x_scales.add(t * groups + g)
                } else {
                    product
                };
            }
            *y.add(t * rows + r) = if per_group != 0 {
                total
            } else {
                total * *x_scales.add(t)
            };
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use crate::linear_integer_simd::simd;
