//! The SIMD versions of `linear_integer.rs`: SIMD128, or relaxed SIMD where the module is built for it.

use crate::integer_layout::{blocks, PANEL};
#[cfg(not(target_feature = "relaxed-simd"))]
use crate::integer_products::Words;
use crate::integer_products::{integers, unpack, Products, Unpack};
#[cfg(target_feature = "relaxed-simd")]
use crate::integer_products::{Bytes, Sevens};
use crate::lanes::{load, opaque, splat, store};
use core::arch::wasm32::*;

/// Forms of a call that have code of their own: activations by token or tensor, without and with
/// zero points; and all others, minimums among them.
const SYMMETRIC: u32 = 0;
const ZEROS: u32 = 1;
const ANY: u32 = 2;

/// One call, and the panel it is at.
struct Job {
    q: *const u8,
    x_scales: *const f32,
    per_group: bool,
    sums: *const i32,
    y: *mut f32,
    rows: usize,
    bits: u32,
    codes: *const u8,
    table: *const u8,
    scales: *const f32,
    zeros: *const i16,
    minimums: *const f32,
    groups: usize,
    group_blocks: usize,
    all_blocks: usize,
    panel: usize,
}

impl Job {
    /// The blocks of a group.
    #[inline(always)]
    fn blocks(&self, g: usize) -> usize {
        self.group_blocks
            .min(self.all_blocks - g * self.group_blocks)
    }

    /// What the sums of four rows over a group start from: the products of zero points.
    #[inline(always)]
    unsafe fn start<const FORM: u32>(&self, token: usize, g: usize, first: usize) -> v128 {
        if FORM == ANY && !self.minimums.is_null() {
            return i32x4_splat(0);
        }
        let of_token = splat(self.sums.add(token * self.groups + g) as *const f32);
        if FORM == SYMMETRIC || (FORM == ANY && self.zeros.is_null()) {
            of_token
        } else {
            i32x4_mul(
                i32x4_load_extend_i16x4(self.zeros.add(g * PANEL + first)),
                of_token,
            )
        }
    }

    /// Adds the sums of a group to the f32 totals of four rows from `first` on.
    #[inline(always)]
    unsafe fn finish<const FORM: u32>(
        &self,
        total: v128,
        sum: v128,
        token: usize,
        g: usize,
        first: usize,
    ) -> v128 {
        let scales = load(self.scales.add(g * PANEL + first));
        let mut value = f32x4_mul(f32x4_convert_i32x4(sum), scales);
        if FORM == ANY && !self.minimums.is_null() {
            let of_token = splat(self.sums.add(token * self.groups + g) as *const f32);
            let minimums = load(self.minimums.add(g * PANEL + first));
            value = f32x4_add(value, f32x4_mul(minimums, f32x4_convert_i32x4(of_token)));
        }
        if FORM == ANY && self.per_group {
            value = f32x4_mul(value, splat(self.x_scales.add(token * self.groups + g)));
        }
        f32x4_add(total, value)
    }

    /// Writes the outputs of four rows from `first` on.
    #[inline(always)]
    unsafe fn write<const FORM: u32>(&self, total: v128, token: usize, first: usize) {
        let value = if FORM == ANY && self.per_group {
            total
        } else {
            f32x4_mul(total, splat(self.x_scales.add(token)))
        };
        let row = self.panel * PANEL + first;
        let y = self.y.add(token * self.rows + row);
        if row + 4 <= self.rows {
            store(y, value);
        } else if row < self.rows {
            let lanes: [f32; 4] = core::mem::transmute(value);
            for (j, lane) in lanes.iter().enumerate().take(self.rows - row) {
                *y.add(j) = *lane;
            }
        }
    }
}

/// One token: codes are multiplied as they are unpacked.
unsafe fn one_token<P: Products, const BITS: u32, const TABLE: bool, const FORM: u32>(job: &Job) {
    let mut codes = job.codes;
    let mut x = job.q;
    let mut totals = [f32x4_splat(0.0); 4];
    for g in 0..job.groups {
        let mut sums = [i32x4_splat(0); 4];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = job.start::<FORM>(0, g, 4 * i);
        }
        let mut left = job.blocks(g);
        while left > 0 {
            let run = left.min(P::blocks(BITS));
            let mut part = [i32x4_splat(0); 4];
            for _ in 0..run {
                let vectors = integers::<BITS, TABLE>(codes, job.table);
                for k in 0..2 {
                    let x = x.add(4 * P::PARTS * k);
                    for (i, part) in part.iter_mut().enumerate() {
                        let split = P::parts(vectors[4 * k + i]);
                        for p in 0..P::PARTS {
                            *part = P::add(*part, split[p], splat(x.add(4 * p) as *const f32));
                        }
                    }
                }
                codes = codes.add(PANEL * BITS as usize);
                x = x.add(8 * P::PARTS);
            }
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = P::close(*sum, part);
            }
            left -= run;
        }
        for (i, total) in totals.iter_mut().enumerate() {
            *total = job.finish::<FORM>(*total, sums[i], 0, g, 4 * i);
        }
    }
    for (i, total) in totals.into_iter().enumerate() {
        job.write::<FORM>(total, 0, 4 * i);
    }
}

/// The same for any width: some blocks are unpacked, then multiplied.
unsafe fn one_token_unpacked<P: Products, const FORM: u32>(
    job: &Job,
    unpack: Unpack,
    scratch: *mut v128,
) {
    let mut codes = job.codes;
    let mut x = job.q;
    let mut totals = [f32x4_splat(0.0); 4];
    for g in 0..job.groups {
        let mut sums = [i32x4_splat(0); 4];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = job.start::<FORM>(0, g, 4 * i);
        }
        let mut left = job.blocks(g);
        while left > 0 {
            let run = left.min(P::blocks(job.bits)).min(16);
            unpack(codes, job.table, run, scratch);
            let mut w = scratch as *const v128;
            let mut part = [i32x4_splat(0); 4];
            for _ in 0..2 * run * P::PARTS {
                let x4 = splat(x as *const f32);
                for (i, part) in part.iter_mut().enumerate() {
                    *part = P::add(*part, v128_load(w.add(i)), x4);
                }
                x = x.add(4);
                w = w.add(4);
            }
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = P::close(*sum, part);
            }
            codes = codes.add(run * PANEL * job.bits as usize);
            left -= run;
        }
        for (i, total) in totals.iter_mut().enumerate() {
            *total = job.finish::<FORM>(*total, sums[i], 0, g, 4 * i);
        }
    }
    for (i, total) in totals.into_iter().enumerate() {
        job.write::<FORM>(total, 0, 4 * i);
    }
}

/// `TOKENS` tokens from `token` on by 8 rows from `4 * first` on, with unpacked codes.
unsafe fn tile<P: Products, const TOKENS: usize, const FORM: u32>(
    job: &Job,
    unpacked: *const v128,
    token: usize,
    first: usize,
) {
    let mut x = job.q.add(token * job.all_blocks * 8 * P::PARTS);
    let mut w = unpacked.add(first);
    let mut totals = [[f32x4_splat(0.0); 2]; TOKENS];
    for g in 0..job.groups {
        let mut sums = [[i32x4_splat(0); 2]; TOKENS];
        for (t, sums) in sums.iter_mut().enumerate() {
            sums[0] = job.start::<FORM>(token + t, g, 4 * first);
            sums[1] = job.start::<FORM>(token + t, g, 4 * first + 4);
        }
        let mut left = job.blocks(g);
        while left > 0 {
            let run = left.min(P::blocks(job.bits));
            let mut part = [[i32x4_splat(0); 2]; TOKENS];
            for _ in 0..run * P::PARTS {
                for _ in 0..2 {
                    let weights = [v128_load(w), v128_load(w.add(1))];
                    for (t, part) in part.iter_mut().enumerate() {
                        let x = splat(x.add(4 * t) as *const f32);
                        for (part, weights) in part.iter_mut().zip(weights) {
                            *part = P::add(*part, weights, x);
                        }
                    }
                    x = opaque(x.add(4 * TOKENS));
                    w = opaque(w.add(4));
                }
            }
            for (sums, part) in sums.iter_mut().zip(part) {
                for v in 0..2 {
                    sums[v] = P::close(sums[v], part[v]);
                }
            }
            left -= run;
        }
        for (t, totals) in totals.iter_mut().enumerate() {
            let [a, b] = sums[t];
            totals[0] = job.finish::<FORM>(totals[0], a, token + t, g, 4 * first);
            totals[1] = job.finish::<FORM>(totals[1], b, token + t, g, 4 * first + 4);
        }
    }
    for (t, totals) in totals.into_iter().enumerate() {
        for (v, total) in totals.into_iter().enumerate() {
            job.write::<FORM>(total, token + t, 4 * (first + v));
        }
    }
}

unsafe fn panel<P: Products, const FORM: u32>(
    job: &Job,
    unpack: Unpack,
    tokens: usize,
    scratch: *mut u8,
) {
    let unpacked = scratch as *mut v128;
    if tokens == 1 {
        return one_token_unpacked::<P, FORM>(job, unpack, unpacked);
    }
    unpack(job.codes, job.table, job.all_blocks, unpacked);
    let mut t = 0;
    while t < tokens {
        let count = (tokens - t).min(4);
        for first in [0, 2] {
            match count {
                4 => tile::<P, 4, FORM>(job, unpacked, t, first),
                3 => tile::<P, 3, FORM>(job, unpacked, t, first),
                2 => tile::<P, 2, FORM>(job, unpacked, t, first),
                _ => tile::<P, 1, FORM>(job, unpacked, t, first),
            }
        }
        t += count;
    }
}

#[cfg(target_feature = "relaxed-simd")]
unsafe fn any_panel<const FORM: u32>(job: &Job, tokens: usize, scratch: *mut u8) {
    match (tokens, job.bits) {
        (1, 2) => one_token::<Bytes, 2, false, FORM>(job),
        (1, 4) => one_token::<Bytes, 4, false, FORM>(job),
        (_, 1) => panel::<Bytes, FORM>(job, unpack::<Bytes, 1, false>, tokens, scratch),
        (_, 2) => panel::<Bytes, FORM>(job, unpack::<Bytes, 2, false>, tokens, scratch),
        (_, 3) => panel::<Bytes, FORM>(job, unpack::<Bytes, 3, false>, tokens, scratch),
        (_, 4) => panel::<Bytes, FORM>(job, unpack::<Bytes, 4, false>, tokens, scratch),
        (_, 5) => panel::<Bytes, FORM>(job, unpack::<Bytes, 5, false>, tokens, scratch),
        (_, 6) => panel::<Bytes, FORM>(job, unpack::<Bytes, 6, false>, tokens, scratch),
        _ => panel::<Sevens, ANY>(job, unpack::<Sevens, 7, false>, tokens, scratch),
    }
}

#[cfg(not(target_feature = "relaxed-simd"))]
unsafe fn any_panel<const FORM: u32>(job: &Job, tokens: usize, scratch: *mut u8) {
    match (tokens, job.bits) {
        (1, 4) => one_token::<Words, 4, false, FORM>(job),
        (1, 8) => one_token::<Words, 8, false, FORM>(job),
        (_, 1) => panel::<Words, FORM>(job, unpack::<Words, 1, false>, tokens, scratch),
        (_, 2) => panel::<Words, FORM>(job, unpack::<Words, 2, false>, tokens, scratch),
        (_, 3) => panel::<Words, FORM>(job, unpack::<Words, 3, false>, tokens, scratch),
        (_, 4) => panel::<Words, FORM>(job, unpack::<Words, 4, false>, tokens, scratch),
        (_, 5) => panel::<Words, FORM>(job, unpack::<Words, 5, false>, tokens, scratch),
        (_, 6) => panel::<Words, FORM>(job, unpack::<Words, 6, false>, tokens, scratch),
        (_, 7) => panel::<Words, FORM>(job, unpack::<Words, 7, false>, tokens, scratch),
        _ => panel::<Words, FORM>(job, unpack::<Words, 8, false>, tokens, scratch),
    }
}

/// A weight with a table; one form does for all, since little of the time is spent between groups.
#[cfg(target_feature = "relaxed-simd")]
unsafe fn table_panel(job: &Job, tokens: usize, scratch: *mut u8) {
    any_table::<Sevens>(job, tokens, scratch)
}

#[cfg(not(target_feature = "relaxed-simd"))]
unsafe fn table_panel(job: &Job, tokens: usize, scratch: *mut u8) {
    any_table::<Words>(job, tokens, scratch)
}

unsafe fn any_table<P: Products>(job: &Job, tokens: usize, scratch: *mut u8) {
    match (tokens, job.bits) {
        (1, 4) => one_token::<P, 4, true, ANY>(job),
        (_, 1) => panel::<P, ANY>(job, unpack::<P, 1, true>, tokens, scratch),
        (_, 2) => panel::<P, ANY>(job, unpack::<P, 2, true>, tokens, scratch),
        (_, 3) => panel::<P, ANY>(job, unpack::<P, 3, true>, tokens, scratch),
        _ => panel::<P, ANY>(job, unpack::<P, 4, true>, tokens, scratch),
    }
}

/// Panel by panel. Scratch: the unpacked codes of a panel, 16 or 32 bytes a padded column.
pub unsafe fn simd(
    q: *const u8,
    _wide: u32,
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
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let all_blocks = blocks(columns, group, groups);
    for index in begin..end {
        let grid = index * groups * PANEL;
        let job = Job {
            q,
            x_scales,
            per_group: per_group != 0,
            sums,
            y,
            rows,
            bits,
            codes: codes.add(index * all_blocks * PANEL * bits as usize),
            table,
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
            groups,
            group_blocks: group.div_ceil(8),
            all_blocks,
            panel: index,
        };
        if !table.is_null() {
            table_panel(&job, tokens, scratch);
        } else if job.per_group || !job.minimums.is_null() {
            any_panel::<ANY>(&job, tokens, scratch);
        } else if job.zeros.is_null() {
            any_panel::<SYMMETRIC>(&job, tokens, scratch);
        } else {
            any_panel::<ZEROS>(&job, tokens, scratch);
        }
    }
}
