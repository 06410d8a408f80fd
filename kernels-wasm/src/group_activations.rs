//! Activations for `linear_grouped`: columns padded as those of the weight, in tiles of tokens (see
//! `token_tiles.rs`), and their sum over every segment, times a factor. Magnitudes below 2^-100 become 0, so that
//! factors of 2^-24 are exact. Parallel over tiles of 4 tokens.
//!
//! Where the kernel multiplies codes as they stand in 32-bit lanes, column `4 i + j` is times
//! `2^-8j`, except that with codes of 8 bits j = 3 counts as 0.

use crate::integer_layout::blocks;
use crate::segments::{each, in_lanes, of_row};
use crate::token_tiles::{at, TILE};

/// Magnitudes below this count as 0.
const SMALLEST: f32 = 7.888609e-31;

/// The factor of a column of a lane.
#[inline(always)]
fn factor(column: usize, bits: u32) -> f32 {
    match column % 4 {
        1 => 1.0 / 256.0,
        2 => 1.0 / 65536.0,
        3 if bits < 8 => 1.0 / 16_777_216.0,
        _ => 1.0,
    }
}

/// The definition; there is no SIMD version, since this is a small part of a product.
pub unsafe fn scalar(
    x: *const f32,
    out: *mut f32,
    sums: *mut f32,
    tokens: usize,
    columns: usize,
    group: usize,
    groups: usize,
    bits: u32,
    factor_of_sums: f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let lanes = in_lanes(tokens, bits);
    let padded = 8 * blocks(columns, group, groups);
    let segments = of_row(columns, group, groups);
    for t in begin * TILE..(end * TILE).min(tokens) {
        let mut to = 0;
        for (s, segment) in each(columns, group, groups).enumerate() {
            let mut sum = 0.0;
            for c in 0..segment.padded {
                let mut value = 0.0;
                if c < segment.count {
                    value = *x.add(t * columns + segment.first + c);
                    value = if value.abs() < SMALLEST { 0.0 } else { value };
                    sum += value;
                }
                let scale = if lanes { factor(c, bits) } else { 1.0 };
                *out.add(at(t, tokens, to + c, padded)) = value * scale;
            }
            to += segment.padded;
            *sums.add(t * segments + s) = sum * factor_of_sums;
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use scalar as simd;
