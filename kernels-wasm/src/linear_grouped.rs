//! `y = x W^T` with f32 activations and a weight of `integer_panels`, scaled once a segment (see
//! `segments.rs`). Parallel over panels.
//!
//! Of every output, segments ascending, all f32: the codes (integers) times the activations, added
//! in ascending order to a sum that starts at 0; less the zero point times the sum of the
//! activations (which is added up in the same order); times the scale; plus the minimum times the
//! sum of the activations, if there are minimums; added to a total that starts at 0.
//!
//! Scales, zero points and minimums are `[panel][group][16]`. `x` and `sums` are those of
//! `group_activations`; without zero points the sums are times the one that all groups have.

use crate::integer_layout::{blocks, code_of, PANEL};
use crate::segments::{each, in_lanes, of_row};
use crate::token_tiles::at;

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    sums: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    codes: *const u8,
    bits: u32,
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
    let segments = of_row(columns, group, groups);
    let lanes = in_lanes(tokens, bits);
    for r in begin * PANEL..(end * PANEL).min(rows) {
        let panel = codes.add(r / PANEL * all * size);
        for t in 0..tokens {
            let mut total = 0.0;
            let mut first = 0;
            for (s, segment) in each(columns, group, groups).enumerate() {
                let mut sum = 0.0;
                for c in first..first + segment.padded {
                    let code = code_of(panel.add(c / 8 * size), r % PANEL, c % 8, bits);
                    // as it stands in its lane; powers of two are exact
                    let lane = if !lanes || (bits == 8 && c % 4 == 3) {
                        0
                    } else {
                        c % 4
                    };
                    let code = ((code as u32) << (8 * lane)) as f32;
                    sum += code * *x.add(at(t, tokens, c, all * 8));
                }
                first += segment.padded;
                let grid = (r / PANEL * groups + segment.group) * PANEL + r % PANEL;
                let inputs = *sums.add(t * segments + s);
                total += if !minimums.is_null() {
                    sum * *scales.add(grid) + *minimums.add(grid) * inputs
                } else if zeros.is_null() {
                    (sum - inputs) * *scales.add(grid)
                } else {
                    (sum - *zeros.add(grid) as f32 * inputs) * *scales.add(grid)
                };
            }
            *y.add(t * rows + r) = total;
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::PANEL;
    use crate::codes::codes_of_group;
    use crate::integer_layout::blocks;
    use crate::lanes::{load, opaque, splat, store};
    use crate::linear_dense::tile;
    use crate::segments::{each, in_lanes, of_row, Segment};
    use crate::token_tiles::TILE;
    use core::arch::wasm32::*;

    /// One call, and the panel it is at.
    struct Job {
        x: *const f32,
        sums: *const f32,
        segments: usize,
        out: tile::Output,
        tokens: usize,
        padded: usize,
        codes: *const u8,
        scales: *const f32,
        zeros: *const i16,
        minimums: *const f32,
    }

    impl Job {
        /// What a sum over a segment adds to four outputs, from row `4 * vector` of the panel on.
        #[inline(always)]
        unsafe fn finish(
            &self,
            sum: v128,
            token: usize,
            s: usize,
            segment: &Segment,
            vector: usize,
        ) -> v128 {
            let at = segment.group * PANEL + 4 * vector;
            let mut inputs = splat(self.sums.add(token * self.segments + s));
            let scales = load(self.scales.add(at));
            if !self.minimums.is_null() {
                let minimums = load(self.minimums.add(at));
                return f32x4_add(f32x4_mul(sum, scales), f32x4_mul(minimums, inputs));
            }
            if !self.zeros.is_null() {
                let zeros = i32x4_load_extend_i16x4(self.zeros.add(at));
                inputs = f32x4_mul(f32x4_convert_i32x4(zeros), inputs);
            }
            f32x4_mul(f32x4_sub(sum, inputs), scales)
        }
    }

    /// The code vectors of half a block, in each byte perhaps with bits of others beside a code.
    #[inline(always)]
    unsafe fn lanes_of_half<const BITS: u32>(half: *const u8) -> [v128; 4] {
        let per_byte = 8 / BITS as usize;
        core::array::from_fn(|k| {
            let bytes = v128_load(half.add(k / per_byte * 16) as *const v128);
            u32x4_shr(bytes, BITS * (k % per_byte) as u32)
        })
    }

    /// The codes of column `COLUMN` of four, as they stand in 32-bit lanes.
    #[inline(always)]
    fn column<const BITS: u32, const COLUMN: u32>(vector: v128) -> v128 {
        f32x4_convert_i32x4(if BITS == 8 && COLUMN == 3 {
            u32x4_shr(vector, 24)
        } else {
            v128_and(vector, u32x4_splat(((1 << BITS) - 1) << (8 * COLUMN)))
        })
    }

    #[inline(always)]
    unsafe fn add_column<const BITS: u32, const COLUMN: u32>(
        sums: &mut [v128; 4],
        vectors: &[v128; 4],
        x: *const f32,
    ) {
        let x = splat(x.add(COLUMN as usize));
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            *sum = f32x4_add(*sum, f32x4_mul(column::<BITS, COLUMN>(*vector), x));
        }
    }

    /// One token: codes are multiplied as they stand in the panel.
    unsafe fn one_token<const BITS: u32>(job: &Job, segments: impl Iterator<Item = Segment>) {
        let (mut codes, mut x) = (job.codes, job.x);
        let mut totals = [f32x4_splat(0.0); 4];
        for (s, segment) in segments.enumerate() {
            let mut sums = [f32x4_splat(0.0); 4];
            // half a block at a time: the vectors of a whole one would not fit the registers
            for _ in 0..segment.padded / 4 {
                let vectors = lanes_of_half::<BITS>(codes);
                add_column::<BITS, 0>(&mut sums, &vectors, x);
                add_column::<BITS, 1>(&mut sums, &vectors, x);
                add_column::<BITS, 2>(&mut sums, &vectors, x);
                add_column::<BITS, 3>(&mut sums, &vectors, x);
                codes = opaque(codes.add(PANEL / 2 * BITS as usize));
                x = opaque(x.add(4));
            }
            for (v, total) in totals.iter_mut().enumerate() {
                *total = f32x4_add(*total, job.finish(sums[v], 0, s, &segment, v));
            }
        }
        job.out.add(0, &totals);
    }

    /// Widens the codes of some columns.
    type Widen = unsafe fn(codes: *const u8, columns: usize, out: *mut f32);

    /// The codes of `columns` columns (of whole blocks) as f32, `[column][16]`.
    unsafe fn widen<const BITS: u32>(codes: *const u8, columns: usize, out: *mut f32) {
        for b in 0..columns / 8 {
            let vectors = codes_of_group::<BITS>(codes.add(b * PANEL * BITS as usize));
            for (k, vector) in vectors.into_iter().enumerate() {
                let to = out.add((8 * b + k / 4 * 4) * PANEL + k % 4 * 4);
                let mask = u32x4_splat(255);
                store(to, f32x4_convert_i32x4(v128_and(vector, mask)));
                let second = v128_and(u32x4_shr(vector, 8), mask);
                store(to.add(PANEL), f32x4_convert_i32x4(second));
                let third = v128_and(u32x4_shr(vector, 16), mask);
                store(to.add(2 * PANEL), f32x4_convert_i32x4(third));
                let fourth = u32x4_shr(vector, 24);
                store(to.add(3 * PANEL), f32x4_convert_i32x4(fourth));
            }
        }
    }

    /// Several tokens: the codes of a segment are widened once.
    unsafe fn many_tokens(
        job: &Job,
        widen: Widen,
        bits: usize,
        segments: impl Iterator<Item = Segment>,
        values: *mut f32,
    ) {
        let mut first = 0;
        for (s, segment) in segments.enumerate() {
            let codes = job.codes.add(first * PANEL * bits / 8);
            widen(codes, segment.padded, values);
            for t in (0..job.tokens).step_by(TILE) {
                let count = TILE.min(job.tokens - t);
                let x = job.x.add(t * job.padded + first * count);
                match count {
                    4 => tokens::<4, 2>(job, x, values, t, s, &segment),
                    3 => tokens::<3, 2>(job, x, values, t, s, &segment),
                    2 => tokens::<2, 4>(job, x, values, t, s, &segment),
                    _ => tokens::<1, 4>(job, x, values, t, s, &segment),
                }
            }
            first += segment.padded;
        }
    }

    unsafe fn tokens<const TOKENS: usize, const VECTORS: usize>(
        job: &Job,
        x: *const f32,
        values: *const f32,
        token: usize,
        s: usize,
        segment: &Segment,
    ) {
        for first in (0..4).step_by(VECTORS) {
            let w = values.add(4 * first);
            let sums = tile::accumulate::<TOKENS, VECTORS>(x, w, segment.padded);
            for (t, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let part = job.finish(*sum, token + t, s, segment, first + v);
                    job.out.add_four(token + t, first + v, part);
                }
            }
        }
    }

    /// Panel by panel. Scratch: 16 KiB, the widened codes of a segment.
    pub unsafe fn simd(
        x: *const f32,
        sums: *const f32,
        y: *mut f32,
        tokens: usize,
        rows: usize,
        columns: usize,
        codes: *const u8,
        bits: u32,
        scales: *const f32,
        zeros: *const i16,
        minimums: *const f32,
        group: usize,
        groups: usize,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let all = blocks(columns, group, groups);
        let widen = match bits {
            1 => widen::<1>,
            2 => widen::<2>,
            3 => widen::<3>,
            4 => widen::<4>,
            5 => widen::<5>,
            6 => widen::<6>,
            7 => widen::<7>,
            _ => widen::<8>,
        };
        for panel in begin..end {
            let grid = panel * groups * PANEL;
            let job = Job {
                x,
                sums,
                segments: of_row(columns, group, groups),
                out: tile::Output::new(y, rows, panel),
                tokens,
                padded: 8 * all,
                codes: codes.add(panel * all * PANEL * bits as usize),
                scales: scales.add(grid),
                zeros: if zeros.is_null() {
                    zeros
                } else {
                    zeros.add(grid)
                },
                minimums: if minimums.is_null() {
                    minimums
                } else {
                    minimums.add(grid)
                },
            };
            job.out.clear(tokens);
            let segments = each(columns, group, groups);
            if in_lanes(tokens, bits) {
                match bits {
                    2 => one_token::<2>(&job, segments),
                    4 => one_token::<4>(&job, segments),
                    _ => one_token::<8>(&job, segments),
                }
            } else {
                many_tokens(&job, widen, bits as usize, segments, scratch as *mut f32);
            }
        }
    }
}
