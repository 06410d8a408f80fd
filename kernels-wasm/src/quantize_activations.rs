//! Activations to integers, for `linear_integer`: the columns of every group are padded with zeros
//! to a multiple of 8, as they are in the panels of an integer weight. The order of the codes is
//! `integer_layout::activation`. Parallel over tokens.
//!
//! `q = rint(x * (limit / m))`, ties to even, with `m` the largest magnitude of the token, group or
//! tensor; the scale is `m / limit`; both in f32. Below 2^-100, m counts as 0: codes and scale are
//! 0. If m is not finite, codes are 0 and the scale is NaN, so that the outputs become NaN.
//!
//! The sum of every group's codes is written times a factor, as `linear_integer` needs it.

#[cfg(target_arch = "wasm32")]
use crate::integer_layout::TILE;
use crate::integer_layout::{activation, blocks};
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

/// Where the codes of one token go.
#[derive(Clone, Copy)]
struct Row {
    codes: *mut u8,
    token: usize,
    tokens: usize,
    padded: usize,
    wide: bool,
}

impl Row {
    #[inline(always)]
    unsafe fn at(&self, column: usize) -> *mut u8 {
        let at = activation(self.token, self.tokens, column, self.padded, self.wide);
        self.codes.add(if self.wide { 2 * at } else { at })
    }

    unsafe fn put(&self, column: usize, code: i32) {
        if self.wide {
            *(self.at(column) as *mut i16) = code as i16;
        } else {
            *self.at(column) = code as u8;
        }
    }
}

/// The sum of the codes of columns `from..count`, which are written at `first`; then zeros up to a
/// multiple of 8.
unsafe fn scalar_codes(
    x: *const f32,
    row: Row,
    first: usize,
    from: usize,
    count: usize,
    factor: f32,
) -> i32 {
    let mut sum = 0;
    for c in from..count.div_ceil(8) * 8 {
        let v = if c < count && factor != 0.0 {
            libm::rintf(*x.add(c) * factor) as i32
        } else {
            0
        };
        row.put(first + c, v);
        sum += v;
    }
    sum
}

/// Walks the groups of tokens; `codes_of` quantises a run of columns and returns its sum.
#[inline(always)]
unsafe fn each(
    x: *const f32,
    codes: *mut u8,
    tokens: usize,
    columns: usize,
    group: usize,
    groups: usize,
    per_group: bool,
    tensor: *const f32,
    limit: f32,
    wide: bool,
    scales: *mut f32,
    sums: *mut i32,
    factor_of_sums: i32,
    begin: usize,
    end: usize,
    most: impl Fn(*const f32, usize) -> f32,
    codes_of: impl Fn(*const f32, Row, usize, usize, f32) -> i32,
) {
    let padded_group = group.div_ceil(8) * 8;
    let padded = blocks(columns, group, groups) * 8;
    for token in begin..end {
        let x = x.add(token * columns);
        let row = Row {
            codes,
            token,
            tokens,
            padded,
            wide,
        };
        let mut whole = (0.0, 0.0);
        if !per_group {
            let m = if tensor.is_null() {
                most(x, columns)
            } else {
                *tensor
            };
            whole = factors(m, limit);
            *scales.add(token) = whole.1;
        }
        for g in 0..groups {
            let count = group.min(columns - g * group);
            let part = x.add(g * group);
            let (factor, scale) = if per_group {
                factors(most(part, count), limit)
            } else {
                whole
            };
            if per_group {
                *scales.add(token * groups + g) = scale;
            }
            let sum = codes_of(part, row, g * padded_group, count, factor);
            *sums.add(token * groups + g) = sum.wrapping_mul(factor_of_sums);
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    codes: *mut u8,
    tokens: usize,
    columns: usize,
    group: usize,
    groups: usize,
    per_group: u32,
    tensor: *const f32,
    limit: f32,
    wide: u32,
    scales: *mut f32,
    sums: *mut i32,
    factor_of_sums: i32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    each(
        x,
        codes,
        tokens,
        columns,
        group,
        groups,
        per_group != 0,
        tensor,
        limit,
        wide != 0,
        scales,
        sums,
        factor_of_sums,
        begin,
        end,
        |x, count| unsafe { largest(x, count) },
        |x, row, first, count, factor| unsafe { scalar_codes(x, row, first, 0, count, factor) },
    );
}

/// Eight columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    codes: *mut u8,
    tokens: usize,
    columns: usize,
    group: usize,
    groups: usize,
    per_group: u32,
    tensor: *const f32,
    limit: f32,
    wide: u32,
    scales: *mut f32,
    sums: *mut i32,
    factor_of_sums: i32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{lanes4, load};
    use core::arch::wasm32::*;
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
    let codes_of = |x: *const f32, row: Row, first: usize, count: usize, factor: f32| unsafe {
        let whole = if factor == 0.0 { 0 } else { count / 8 * 8 };
        let mut sums = i32x4_splat(0);
        let by = f32x4_splat(factor);
        // from one unit of 32 bits of the token to its next
        let step = 4 * TILE.min(tokens - row.token / TILE * TILE);
        for c in (0..whole).step_by(8) {
            let four =
                |at: usize| i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(load(x.add(at)), by)));
            let (low, high) = (four(c), four(c + 4));
            sums = i32x4_add(sums, i32x4_add(low, high));
            let words = i16x8_narrow_i32x4(low, high);
            let out = row.at(first + c);
            if row.wide {
                v128_store32_lane::<0>(words, out as *mut u32);
                v128_store32_lane::<1>(words, out.add(step) as *mut u32);
                v128_store32_lane::<2>(words, out.add(2 * step) as *mut u32);
                v128_store32_lane::<3>(words, out.add(3 * step) as *mut u32);
            } else {
                let bytes = i8x16_narrow_i16x8(words, words);
                v128_store32_lane::<0>(bytes, out as *mut u32);
                v128_store32_lane::<1>(bytes, out.add(step) as *mut u32);
            }
        }
        let sums: [i32; 4] = core::mem::transmute(sums);
        sums.iter().sum::<i32>() + scalar_codes(x, row, first, whole, count, factor)
    };
    each(
        x,
        codes,
        tokens,
        columns,
        group,
        groups,
        per_group != 0,
        tensor,
        limit,
        wide != 0,
        scales,
        sums,
        factor_of_sums,
        begin,
        end,
        most,
        codes_of,
    );
}
