//! `y = x W^T` with a weight of packed codes in panels. Parallel over panels.
//!
//! The weight of a code is `(table[code] - zero) * scale`, or `table[code] * scale + minimum`, each
//! step in f32, and the sums follow
//! `linear_dense`, so that the result has the same bits as with the decoded weight.
//!
//! Scales, zero points and minimums are `[panel][group][16]`.

use crate::linear_dense::sum;
use crate::panels::{code_of, PANEL};
use crate::token_tiles::at;

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    codes: *const u8,
    bits: u32,
    table: *const f32,
    _integer: u32,
    _base: i32,
    scales: *const f32,
    zeros: *const f32,
    minimums: *const f32,
    groups: usize,
    group: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let panel_bytes = columns.div_ceil(8) * PANEL * bits as usize;
    for r in begin * PANEL..(end * PANEL).min(rows) {
        let weight = |c: usize| {
            let code = code_of(codes.add(r / PANEL * panel_bytes), r % PANEL, c, bits);
            let at = (r / PANEL * groups + c / group) * PANEL + r % PANEL;
            let zero = if zeros.is_null() { 0.0 } else { *zeros.add(at) };
            let value = (*table.add(code) - zero) * *scales.add(at);
            if minimums.is_null() {
                value
            } else {
                value + *minimums.add(at)
            }
        };
        for t in 0..tokens {
            let input = |c: usize| *x.add(at(t, tokens, c, columns));
            *y.add(t * rows + r) = sum(columns, input, weight);
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::PANEL;
    use crate::lanes::{opaque, splat, store, Planes};
    use crate::linear_dense::{tile, CHUNK};
    use crate::packed_columns::TWO_23;
    use crate::packed_columns::{by_parity, chunk_codes, each_column, four, Grid, Table, Weight};
    use core::arch::wasm32::*;

    /// One token: values are multiplied as they are decoded.
    unsafe fn one_token<const MINIMUMS: bool>(
        weight: &Weight,
        first: usize,
        depth: usize,
        codes: *const u8,
        x: *const f32,
        out: &tile::Output,
    ) {
        let mut sums = [f32x4_splat(0.0); 4];
        each_column::<MINIMUMS>(weight, first, depth, codes, |k, values| {
            let x = splat(x.add(k));
            for v in 0..4 {
                sums[v] = f32x4_add(sums[v], f32x4_mul(x, values[v]));
            }
        });
        out.add(0, &sums);
    }

    /// One token, integers of 4 bits, pairs of columns: a 16-bit lane of the codes holds two columns
    /// of two rows, so that sums are of even rows (vectors 0 and 1) and of odd ones.
    unsafe fn one_token_nibbles<const MINIMUMS: bool>(
        weight: &Weight,
        base: f32,
        first: usize,
        depth: usize,
        x: *const f32,
        out: &tile::Output,
    ) {
        let mut sums = [f32x4_splat(0.0); 4];
        let (low, exponent) = (u16x8_splat(15), u16x8_splat(0x4b00));
        let mut k = 0;
        while k < depth {
            let group = (first + k) / weight.group;
            let last = ((group + 1) * weight.group - first).min(depth);
            let zeros = if weight.zeros.is_null() {
                [f32x4_splat(TWO_23 - base); 4]
            } else {
                by_parity(four(weight.zeros, group))
                    .map(|zero| f32x4_add(zero, f32x4_splat(TWO_23 - base)))
            };
            let grid = Grid {
                zeros,
                scales: by_parity(four(weight.scales, group)),
                minimums: if MINIMUMS {
                    by_parity(four(weight.minimums, group))
                } else {
                    zeros
                },
            };
            let mut codes = weight.codes.add((first + k) / 2 * PANEL);
            let mut inputs = x.add(k);
            for _ in 0..(last - k) / 2 {
                let v = v128_load(codes as *const v128);
                let columns = [
                    [v128_and(v, low), v128_and(u16x8_shr(v, 8), low)],
                    [v128_and(u16x8_shr(v, 4), low), u16x8_shr(v, 12)],
                ];
                for (c, rows) in columns.into_iter().enumerate() {
                    let x = splat(inputs.add(c));
                    for (parity, codes) in rows.into_iter().enumerate() {
                        let halves = [
                            i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(codes, exponent),
                            i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(codes, exponent),
                        ];
                        for (half, code) in halves.into_iter().enumerate() {
                            let i = 2 * parity + half;
                            let value = grid.weights::<MINIMUMS>(i, code);
                            sums[i] = f32x4_add(sums[i], f32x4_mul(x, value));
                        }
                    }
                }
                codes = opaque(codes.add(PANEL));
                inputs = opaque(inputs.add(2));
            }
            k = last;
        }
        let [even0, even1, odd0, odd1] = sums;
        out.add(
            0,
            &[
                i32x4_shuffle::<0, 4, 1, 5>(even0, odd0),
                i32x4_shuffle::<2, 6, 3, 7>(even0, odd0),
                i32x4_shuffle::<0, 4, 1, 5>(even1, odd1),
                i32x4_shuffle::<2, 6, 3, 7>(even1, odd1),
            ],
        );
    }

    /// Several tokens: values are decoded to `[depth][16]` and multiplied as a dense weight.
    unsafe fn decode<const MINIMUMS: bool>(
        weight: &Weight,
        first: usize,
        depth: usize,
        codes: *const u8,
        out: *mut f32,
    ) {
        each_column::<MINIMUMS>(weight, first, depth, codes, |k, values| {
            for (v, value) in values.into_iter().enumerate() {
                store(out.add(k * PANEL + 4 * v), value);
            }
        });
    }

    /// One chunk of a panel.
    unsafe fn chunk<const MINIMUMS: bool>(
        weight: &Weight,
        inputs: &tile::Inputs,
        values: *mut f32,
        unpacked: *mut u8,
        out: &tile::Output,
    ) {
        let tile::Inputs { first, depth, .. } = *inputs;
        let x = inputs.x.add(first);
        if let Table::Integer { base } = weight.table {
            if inputs.tokens == 1 && weight.bits == 4 && (weight.group | depth) % 2 == 0 {
                return one_token_nibbles::<MINIMUMS>(weight, base, first, depth, x, out);
            }
        }
        let codes = chunk_codes(weight, first, depth, unpacked);
        if inputs.tokens == 1 {
            one_token::<MINIMUMS>(weight, first, depth, codes, x, out);
        } else {
            decode::<MINIMUMS>(weight, first, depth, codes, values);
            tile::multiply_chunk(inputs, values, out);
        }
    }

    /// Panel by panel, chunk by chunk. Scratch: 16 KiB of values, then 4 KiB of codes.
    pub unsafe fn simd(
        x: *const f32,
        y: *mut f32,
        tokens: usize,
        rows: usize,
        columns: usize,
        codes: *const u8,
        bits: u32,
        table: *const f32,
        integer: u32,
        base: i32,
        scales: *const f32,
        zeros: *const f32,
        minimums: *const f32,
        groups: usize,
        group: usize,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let table = if integer != 0 {
            Table::Integer { base: base as f32 }
        } else if bits <= 4 {
            Table::Small(Planes::new(table, (1 << bits) - 1))
        } else {
            Table::Large(table)
        };
        let panel_bytes = columns.div_ceil(8) * PANEL * bits as usize;
        let values = scratch as *mut f32;
        let unpacked = scratch.add(CHUNK * PANEL * 4);
        for panel in begin..end {
            let weight = Weight {
                codes: codes.add(panel * panel_bytes),
                bits,
                table,
                scales: scales.add(panel * groups * PANEL),
                zeros: if zeros.is_null() {
                    zeros
                } else {
                    zeros.add(panel * groups * PANEL)
                },
                minimums: if minimums.is_null() {
                    minimums
                } else {
                    minimums.add(panel * groups * PANEL)
                },
                group,
            };
            let out = tile::Output::new(y, rows, panel);
            out.clear(tokens);
            for first in (0..columns).step_by(CHUNK) {
                let depth = CHUNK.min(columns - first);
                let inputs = tile::Inputs {
                    x,
                    tokens,
                    columns,
                    first,
                    depth,
                };
                if minimums.is_null() {
                    chunk::<false>(&weight, &inputs, values, unpacked, &out);
                } else {
                    chunk::<true>(&weight, &inputs, values, unpacked, &out);
                }
            }
        }
    }
}
