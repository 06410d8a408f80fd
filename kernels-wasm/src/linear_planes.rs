//! `y = x W^T` with bit planes: `W = sum_i alpha_i b_i + offset`, b_i in {-1, +1}, alphas and offsets
//! of a row for each group of columns. By tables of the 16 signed sums of 4 activations,
//! `(+-x0 +- x1) + (+-x2 +- x3)` (a set bit is +). Parallel over
//! units of 8 panels of 16 output channels.
//!
//! For each group, ascending: for each plane, the table entries are added in ascending order from 0;
//! the plane's sum times alpha is added to the group's sum (from 0, planes ascending); then the
//! offset times the sum of the activations (the last entries, added in the same way); and the
//! group's sum is added to the output, which starts at 0.
//!
//! Alphas are `[panel][group][plane][16]`, offsets `[panel][group][16]`. A group is a multiple of 8
//! columns.

use crate::panels::PANEL;
use crate::planes::{activation, nibble, FOUR, UNIT};

unsafe fn entry(x: *const f32, columns: usize, first: usize, index: usize) -> f32 {
    let term = |i: usize| {
        let v = activation(x, columns, first + i);
        if index >> i & 1 != 0 {
            v
        } else {
            -v
        }
    };
    (term(0) + term(1)) + (term(2) + term(3))
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    bits: *const u8,
    planes: usize,
    group: usize,
    groups: usize,
    alphas: *const f32,
    offsets: *const f32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let panel_bytes = columns.div_ceil(8) * planes * PANEL;
    let tables = scratch as *mut f32;
    for t in 0..tokens {
        let x = x.add(t * columns);
        for table in 0..columns.div_ceil(FOUR) {
            for i in 0..16 {
                *tables.add(table * 16 + i) = entry(x, columns, table * FOUR, i);
            }
        }
        for r in begin * UNIT * PANEL..(end * UNIT * PANEL).min(rows) {
            let (panel, lane) = (r / PANEL, r % PANEL);
            let mut total = 0f32;
            for g in 0..groups {
                let stop = ((g + 1) * group).min(columns).div_ceil(FOUR);
                let range = g * group / FOUR..stop;
                let at = panel * groups + g;
                let mut sum = 0f32;
                for plane in 0..planes {
                    let part = range.clone().fold(0f32, |part, table| {
                        let bits = bits.add(panel * panel_bytes);
                        part + *tables.add(table * 16 + nibble(bits, planes, plane, table, lane))
                    });
                    sum += *alphas.add((at * planes + plane) * PANEL + lane) * part;
                }
                if !offsets.is_null() {
                    let part = range.fold(0f32, |part, table| part + *tables.add(table * 16 + 15));
                    sum += *offsets.add(at * PANEL + lane) * part;
                }
                total += sum;
            }
            *y.add(t * rows + r) = total;
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::lanes::{load, store, Planes};
    use core::arch::wasm32::*;

    /// A table over 4 activations: its entries in order in `plain`, and as byte planes.
    unsafe fn table(x: *const f32, columns: usize, first: usize, plain: *mut f32) -> Planes {
        let v: [f32; 4] = core::array::from_fn(|i| activation(x, columns, first + i));
        let low = f32x4_add(
            v128_xor(f32x4_splat(v[0]), f32x4(-0.0, 0.0, -0.0, 0.0)),
            v128_xor(f32x4_splat(v[1]), f32x4(-0.0, -0.0, 0.0, 0.0)),
        );
        for i in 0..4 {
            let a = f32::from_bits(v[2].to_bits() ^ if i & 1 != 0 { 0 } else { 1 << 31 });
            let b = f32::from_bits(v[3].to_bits() ^ if i & 2 != 0 { 0 } else { 1 << 31 });
            store(plain.add(4 * i), f32x4_add(low, f32x4_splat(a + b)));
        }
        Planes::new(plain, 15)
    }

    /// Scratch: 64 bytes of planes a table, then 4 bytes a table for the sum of its activations.
    pub unsafe fn simd(
        x: *const f32,
        y: *mut f32,
        tokens: usize,
        rows: usize,
        columns: usize,
        bits: *const u8,
        planes: usize,
        group: usize,
        groups: usize,
        alphas: *const f32,
        offsets: *const f32,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let panel_bytes = columns.div_ceil(8) * planes * PANEL;
        let count = columns.div_ceil(8) * 2;
        let tables = scratch as *mut Planes;
        let sums = scratch.add(count * 64) as *mut f32;
        for t in 0..tokens {
            let mut plain = [0f32; 16];
            for i in 0..count {
                let planes = table(x.add(t * columns), columns, i * FOUR, plain.as_mut_ptr());
                *tables.add(i) = planes;
                *sums.add(i) = plain[15];
            }
            for panel in begin * UNIT..(end * UNIT).min(rows.div_ceil(PANEL)) {
                let bits = bits.add(panel * panel_bytes);
                let mut total = [f32x4_splat(0.0); 4];
                for g in 0..groups {
                    let at = panel * groups + g;
                    let (from, to) = (g * group / 8, ((g + 1) * group).min(columns).div_ceil(8));
                    let mut sum = [f32x4_splat(0.0); 4];
                    for plane in 0..planes {
                        let alpha = alphas.add((at * planes + plane) * PANEL);
                        let part = plane_sum(bits.add(plane * PANEL), planes, tables, from, to);
                        for v in 0..4 {
                            let product = f32x4_mul(load(alpha.add(4 * v)), part[v]);
                            sum[v] = f32x4_add(sum[v], product);
                        }
                    }
                    if !offsets.is_null() {
                        let stop = ((g + 1) * group).min(columns).div_ceil(FOUR);
                        let part = (2 * from..stop).fold(0f32, |part, i| part + *sums.add(i));
                        for v in 0..4 {
                            let offset = load(offsets.add(at * PANEL + 4 * v));
                            sum[v] = f32x4_add(sum[v], f32x4_mul(offset, f32x4_splat(part)));
                        }
                    }
                    for v in 0..4 {
                        total[v] = f32x4_add(total[v], sum[v]);
                    }
                }
                write(y.add(t * rows), total, panel, rows);
            }
        }
    }

    #[inline(always)]
    unsafe fn plane_sum(
        bits: *const u8,
        planes: usize,
        tables: *const Planes,
        from: usize,
        to: usize,
    ) -> [v128; 4] {
        let mut part = [f32x4_splat(0.0); 4];
        for i in from..to {
            let codes = v128_load(bits.add(i * planes * PANEL) as *const v128);
            let low = (*tables.add(2 * i)).lookup(v128_and(codes, u8x16_splat(15)));
            let high = (*tables.add(2 * i + 1)).lookup(u8x16_shr(codes, 4));
            for v in 0..4 {
                part[v] = f32x4_add(f32x4_add(part[v], low[v]), high[v]);
            }
        }
        part
    }

    unsafe fn write(y: *mut f32, total: [v128; 4], panel: usize, rows: usize) {
        let first = panel * PANEL;
        if first + PANEL <= rows {
            for (v, total) in total.iter().enumerate() {
                store(y.add(first + 4 * v), *total);
            }
            return;
        }
        let values: [f32; PANEL] = core::mem::transmute(total);
        for (i, value) in values.iter().enumerate().take(rows - first) {
            *y.add(first + i) = *value;
        }
    }
}
