//! Exact `y = sum_i f_i (b_i . x) + offset * sum(x)` for bit planes b_i in {0, 1}, int8 activations
//! and whole factors, in 32-bit integers. By tables of the 16 subset sums of 4 activations, which are
//! added in 16 bits (63 of them at most) and then in 32. Parallel over units of 8 panels of
//! 16 output channels.

use crate::panels::PANEL;
use crate::planes::{activation, nibble, FOUR, UNIT};

unsafe fn sum4(x: *const i8, columns: usize, first: usize, index: usize) -> i32 {
    (0..4)
        .filter(|i| index >> i & 1 != 0)
        .map(|i| activation(x, columns, first + i) as i32)
        .sum()
}

unsafe fn sum(x: *const i8, columns: usize) -> i32 {
    (0..columns).map(|c| *x.add(c) as i32).sum()
}

/// The definition.
pub unsafe fn scalar(
    x: *const i8,
    y: *mut i32,
    tokens: usize,
    rows: usize,
    columns: usize,
    bits: *const u8,
    planes: usize,
    factors: *const i32,
    offset: i32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let panel_bytes = columns.div_ceil(8) * planes * PANEL;
    for t in 0..tokens {
        let x = x.add(t * columns);
        let shift = offset * sum(x, columns);
        for r in begin * UNIT * PANEL..(end * UNIT * PANEL).min(rows) {
            let panel = bits.add(r / PANEL * panel_bytes);
            *y.add(t * rows + r) = (0..planes).fold(shift, |total, plane| {
                let part: i32 = (0..columns.div_ceil(FOUR))
                    .map(|table| {
                        let index = nibble(panel, planes, plane, table, r % PANEL);
                        sum4(x, columns, table * FOUR, index)
                    })
                    .sum();
                total + *factors.add(plane) * part
            });
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use core::arch::wasm32::*;

    /// Groups of 8 columns whose sums fit 16 bits: 31 * 2 * 512 < 32768.
    const FIT: usize = 31;

    /// Scratch: two byte planes of 16 entries a table.
    pub unsafe fn simd(
        x: *const i8,
        y: *mut i32,
        tokens: usize,
        rows: usize,
        columns: usize,
        bits: *const u8,
        planes: usize,
        factors: *const i32,
        offset: i32,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let groups = columns.div_ceil(8);
        for t in 0..tokens {
            let x = x.add(t * columns);
            for table in 0..2 * groups {
                write_table(
                    x,
                    columns,
                    table * FOUR,
                    scratch.add(table * 32) as *mut v128,
                );
            }
            let shift = i32x4_splat(offset * sum(x, columns));
            for panel in begin * UNIT..(end * UNIT).min(rows.div_ceil(PANEL)) {
                let bits = bits.add(panel * groups * planes * PANEL);
                let mut total = [shift; 4];
                for plane in 0..planes {
                    let part = plane_sum(bits.add(plane * PANEL), planes, scratch, groups);
                    let factor = i32x4_splat(*factors.add(plane));
                    for v in 0..4 {
                        total[v] = i32x4_add(total[v], i32x4_mul(part[v], factor));
                    }
                }
                let values: [i32; PANEL] = core::mem::transmute(total);
                let first = panel * PANEL;
                for (i, value) in values.iter().enumerate().take(rows - first) {
                    *y.add(t * rows + first + i) = *value;
                }
            }
        }
    }

    /// The 16 subset sums of 4 activations: low bytes, then high bytes.
    #[inline(always)]
    unsafe fn write_table(x: *const i8, columns: usize, first: usize, out: *mut v128) {
        let value = |i: usize| i16x8_splat(activation(x, columns, first + i) as i16);
        let low = i16x8_add(
            i16x8_add(
                v128_and(value(0), i16x8(0, -1, 0, -1, 0, -1, 0, -1)),
                v128_and(value(1), i16x8(0, 0, -1, -1, 0, 0, -1, -1)),
            ),
            v128_and(value(2), i16x8(0, 0, 0, 0, -1, -1, -1, -1)),
        );
        let high = i16x8_add(low, value(3));
        let even =
            i8x16_shuffle::<0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30>(low, high);
        let odd =
            i8x16_shuffle::<1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31>(low, high);
        v128_store(out, even);
        v128_store(out.add(1), odd);
    }

    #[inline(always)]
    unsafe fn plane_sum(
        bits: *const u8,
        planes: usize,
        tables: *const u8,
        groups: usize,
    ) -> [v128; 4] {
        let zero = i32x4_splat(0);
        let mut total = [zero; 4];
        for first in (0..groups).step_by(FIT) {
            let mut part = [zero; 2];
            for g in first..(first + FIT).min(groups) {
                let codes = v128_load(bits.add(g * planes * PANEL) as *const v128);
                let indices = [v128_and(codes, u8x16_splat(15)), u8x16_shr(codes, 4)];
                for (half, index) in indices.into_iter().enumerate() {
                    let table = tables.add((2 * g + half) * 32) as *const v128;
                    let low = i8x16_swizzle(v128_load(table), index);
                    let high = i8x16_swizzle(v128_load(table.add(1)), index);
                    let a = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(
                        low, high,
                    );
                    let b = i8x16_shuffle::<
                        8,
                        24,
                        9,
                        25,
                        10,
                        26,
                        11,
                        27,
                        12,
                        28,
                        13,
                        29,
                        14,
                        30,
                        15,
                        31,
                    >(low, high);
                    part[0] = i16x8_add(part[0], a);
                    part[1] = i16x8_add(part[1], b);
                }
            }
            for (h, part) in part.into_iter().enumerate() {
                total[2 * h] = i32x4_add(total[2 * h], i32x4_extend_low_i16x8(part));
                total[2 * h + 1] = i32x4_add(total[2 * h + 1], i32x4_extend_high_i16x8(part));
            }
        }
        total
    }
}
