//! Activations to integers, for `linear_integer`: the columns of every group are padded with zeros
//! to a multiple of 8, as they are in the panels of an integer weight. Parallel over tokens.
//!
//! `q = rint(x * (limit / m))`, ties to even, with `m` the largest magnitude of the token, group or
//! tensor; the scale is `m / limit`; both in f32. Below 2^-100, m counts as 0: codes and scale are
//! 0. If m is not finite, codes are 0 and the scale is NaN, so that the outputs become NaN.

use wasm_bindgen::prelude::wasm_bindgen;

/// Magnitudes below this count as 0; `limit / m` would leave the range of f32.
const SMALLEST: f32 = 7.888609e-31;

/// The factor of the values, and the scale.
#[inline(always)]
fn factors(largest: f32, limit: f32) -> (f32, f32) {
    if !largest.is_finite() {
        (0.0, f32::NAN)
    } else if largest < SMALLEST {
        (0.0, 0.0)
    } else {
        (limit / largest, largest / limit)
    }
}

/// The largest magnitude of values; NaN if one is NaN.
#[wasm_bindgen]
pub fn largest_magnitude(x: *const f32, count: usize) -> f32 {
    unsafe { largest(x, count) }
}

unsafe fn largest(x: *const f32, count: usize) -> f32 {
    let mut most = 0.0f32;
    for i in 0..count {
        let v = (*x.add(i)).abs();
        if v > most || v.is_nan() {
            most = v;
        }
        if most.is_nan() {
            break;
        }
    }
    most
}

#[inline(always)]
unsafe fn put(codes: *mut u8, at: usize, code: i32, wide: bool) {
    if wide {
        *(codes as *mut i16).add(at) = code as i16;
    } else {
        *codes.add(at) = code as u8;
    }
}

/// The sum of the codes of columns `from..count`, which are written; then zeros up to `padded`.
unsafe fn scalar_codes(
    x: *const f32,
    codes: *mut u8,
    from: usize,
    count: usize,
    padded: usize,
    factor: f32,
    wide: bool,
) -> i32 {
    let mut sum = 0;
    for c in from..padded {
        let v = if c < count && factor != 0.0 {
            libm::rintf(*x.add(c) * factor) as i32
        } else {
            0
        };
        put(codes, c, v, wide);
        sum += v;
    }
    sum
}

/// Walks the groups of tokens; `codes_of` quantises a run of columns and returns its sum.
#[inline(always)]
unsafe fn each(
    x: *const f32,
    codes: *mut u8,
    columns: usize,
    group: usize,
    groups: usize,
    per_group: bool,
    tensor: *const f32,
    limit: f32,
    wide: bool,
    scales: *mut f32,
    sums: *mut i32,
    begin: usize,
    end: usize,
    most: impl Fn(*const f32, usize) -> f32,
    codes_of: impl Fn(*const f32, *mut u8, usize, usize, f32) -> i32,
) {
    let padded_group = group.div_ceil(8) * 8;
    let last = columns - group * (groups - 1);
    let padded = padded_group * (groups - 1) + last.div_ceil(8) * 8;
    let size = if wide { 2 } else { 1 };
    for t in begin..end {
        let row = x.add(t * columns);
        let mut whole = (0.0, 0.0);
        if !per_group {
            let m = if tensor.is_null() {
                most(row, columns)
            } else {
                *tensor
            };
            whole = factors(m, limit);
            *scales.add(t) = whole.1;
        }
        for g in 0..groups {
            let count = if g + 1 == groups { last } else { group };
            let first = row.add(g * group);
            let (factor, scale) = if per_group {
                factors(most(first, count), limit)
            } else {
                whole
            };
            if per_group {
                *scales.add(t * groups + g) = scale;
            }
            let out = codes.add((t * padded + g * padded_group) * size);
            *sums.add(t * groups + g) =
                codes_of(first, out, count, count.div_ceil(8) * 8, factor);
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    codes: *mut u8,
    columns: usize,
    group: usize,
    groups: usize,
    per_group: u32,
    tensor: *const f32,
    limit: f32,
    wide: u32,
    scales: *mut f32,
    sums: *mut i32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let wide = wide != 0;
    each(
        x, codes, columns, group, groups, per_group != 0, tensor, limit, wide, scales, sums, begin,
        end,
        |x, count| unsafe { largest(x, count) },
        |x, codes, count, padded, factor| unsafe {
            scalar_codes(x, codes, 0, count, padded, factor, wide)
        },
    );
}

/// Eight columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    codes: *mut u8,
    columns: usize,
    group: usize,
    groups: usize,
    per_group: u32,
    tensor: *const f32,
    limit: f32,
    wide: u32,
    scales: *mut f32,
    sums: *mut i32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{lanes4, load};
    use core::arch::wasm32::*;
    let wide = wide != 0;
    let most = |x: *const f32, count: usize| unsafe {
        let mut lanes = f32x4_splat(0.0);
        let whole = count / 4 * 4;
        for c in (0..whole).step_by(4) {
            lanes = f32x4_max(lanes, f32x4_abs(load(x.add(c)))); // a NaN stays
        }
        let [a, b, c, d] = lanes4(lanes);
        let parts = [a, b, c, d, largest(x.add(whole), count - whole)];
        largest(parts.as_ptr(), 5)
    };
    let codes_of = |x: *const f32, codes: *mut u8, count: usize, padded: usize, factor: f32| unsafe {
        let whole = if factor == 0.0 { 0 } else { count / 8 * 8 };
        let mut sums = i32x4_splat(0);
        let by = f32x4_splat(factor);
        for c in (0..whole).step_by(8) {
            let four = |at: usize| {
                i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(load(x.add(at)), by)))
            };
            let (low, high) = (four(c), four(c + 4));
            sums = i32x4_add(sums, i32x4_add(low, high));
            let words = i16x8_narrow_i32x4(low, high);
            if wide {
                v128_store((codes as *mut i16).add(c) as *mut v128, words);
            } else {
                v128_store64_lane::<0>(i8x16_narrow_i16x8(words, words), codes.add(c) as *mut u64);
            }
        }
        let sums: [i32; 4] = core::mem::transmute(sums);
        let rest = scalar_codes(x, codes, whole, count, padded, factor, wide);
        sums.iter().sum::<i32>() + rest
    };
    each(
        x, codes, columns, group, groups, per_group != 0, tensor, limit, wide, scales, sums, begin,
        end, most, codes_of,
    );
}
