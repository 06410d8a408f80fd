//! Encodes columns `start..start + count` one after the other, spreading each column's error over
//! the later columns of the block. Parallel over rows, which do not touch each other.

use crate::encoder::Encoder;

/// Everything but the rows.
struct Block {
    w: *mut f32,
    columns: usize,
    start: usize,
    count: usize,
    u: *const f32,
    group_of: *const u32,
    scales: *const f32,
    stored: *const f32,
    zeros: *const f32,
    groups: usize,
    encoder: Encoder,
    table: *const f32,
    mask: usize,
    codes: *mut u8,
    errors: *mut f32,
}

impl Block {
    unsafe fn zero(&self, at: usize) -> f32 {
        if self.zeros.is_null() {
            0.0
        } else {
            *self.zeros.add(at)
        }
    }

    /// The code of a weight and what it reads back as.
    #[inline(always)]
    unsafe fn code(&self, w: f32, at: usize) -> (u8, f32) {
        let v = self
            .encoder
            .apply(w, self.encoder.operand(*self.scales.add(at)));
        let code = self.encoder.code(v, self.zero(at));
        let entry = *self.table.add(code as usize & self.mask);
        (code, (entry - self.zero(at)) * *self.stored.add(at))
    }

    unsafe fn scalar_row(&self, r: usize) {
        let w = self.w.add(r * self.columns + self.start);
        for j in 0..self.count {
            let column = self.start + j;
            let at = r * self.groups + *self.group_of.add(column) as usize;
            let (code, decoded) = self.code(*w.add(j), at);
            let u = self.u.add(column * self.columns + self.start);
            let error = (*w.add(j) - decoded) / *u.add(j);
            *self.codes.add(r * self.columns + column) = code;
            *self.errors.add(r * self.count + j) = error;
            for k in j + 1..self.count {
                *w.add(k) -= error * *u.add(k);
            }
        }
    }
}

/// Declares an entry point: both take the same long list of arguments.
macro_rules! entry {
    ($(#[$attribute:meta])* $name:ident, |$block:ident, $scratch:ident, $begin:ident, $end:ident| $body:expr) => {
        $(#[$attribute])*
        pub unsafe fn $name(
            w: *mut f32, _rows: usize, columns: usize, start: usize, count: usize, u: *const f32,
            group_of: *const u32, scales: *const f32, stored: *const f32, zeros: *const f32,
            groups: usize, reciprocal: u32, kind: u32, min: f32, max: f32, mask: u32,
            bias: f32, shift: u32,
            thresholds: *const u32, step_codes: *const u8, depth: u32, table: *const f32,
            table_mask: u32, codes: *mut u8, errors: *mut f32, $scratch: *mut u8, $begin: usize, $end: usize,
        ) {
            let steps = (thresholds, step_codes, core::ptr::null(), depth);
            let encoder = Encoder::new(reciprocal, kind, [min, max, bias], [mask, shift], steps);
            let $block = Block {
                w, columns, start, count, u, group_of, scales, stored, zeros, groups, encoder, table,
                mask: table_mask as usize, codes, errors,
            };
            $body
        }
    };
}

entry!(
    /// The definition.
    scalar, |block, _scratch, begin, end| for r in begin..end {
        block.scalar_row(r);
    }
);

#[cfg(target_arch = "wasm32")]
entry!(
    /// Eight rows at a time, transposed in scratch (`count * 32` bytes).
    simd, |block, scratch, begin, end| {
        let whole = begin + (end - begin) / 8 * 8;
        for r in (begin..whole).step_by(8) {
            block.eight_rows(r, scratch as *mut f32);
        }
        for r in whole..end {
            block.scalar_row(r);
        }
    }
);

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::Block;
    use crate::encoder::wide::keys4;
    use crate::lanes::{load, splat, store};
    use core::arch::wasm32::*;

    impl Block {
        pub unsafe fn eight_rows(&self, row: usize, tile: *mut f32) {
            for r in 0..8 {
                let w = self.w.add((row + r) * self.columns + self.start);
                for j in 0..self.count {
                    *tile.add(8 * j + r) = *w.add(j);
                }
            }
            for j in 0..self.count {
                let u = self.u.add((self.start + j) * self.columns + self.start);
                let e0 = self.four_rows(row, j, load(tile.add(8 * j)), splat(u.add(j)));
                let e1 = self.four_rows(row + 4, j, load(tile.add(8 * j + 4)), splat(u.add(j)));
                for k in j + 1..self.count {
                    let (factor, at) = (splat(u.add(k)), tile.add(8 * k));
                    store(at, f32x4_sub(load(at), f32x4_mul(e0, factor)));
                    store(at.add(4), f32x4_sub(load(at.add(4)), f32x4_mul(e1, factor)));
                }
            }
            for r in 0..8 {
                let w = self.w.add((row + r) * self.columns + self.start);
                for j in 0..self.count {
                    *w.add(j) = *tile.add(8 * j + r);
                }
            }
        }

        /// Codes and errors of column j in four rows.
        #[inline(always)]
        unsafe fn four_rows(&self, row: usize, j: usize, w: v128, diagonal: v128) -> v128 {
            let column = self.start + j;
            let first = row * self.groups + *self.group_of.add(column) as usize;
            let at = [
                first,
                first + self.groups,
                first + 2 * self.groups,
                first + 3 * self.groups,
            ];
            let four =
                |p: *const f32| f32x4(*p.add(at[0]), *p.add(at[1]), *p.add(at[2]), *p.add(at[3]));
            let mut operand = four(self.scales);
            if self.encoder.reciprocal {
                operand = f32x4_div(f32x4_splat(1.0), operand);
            }
            let v = self.encoder.apply4(w, operand);
            let zero = if self.zeros.is_null() {
                f32x4_splat(0.0)
            } else {
                four(self.zeros)
            };
            let codes: [u32; 4] = if self.encoder.steps {
                let keys: [u32; 4] = core::mem::transmute(keys4(v));
                [
                    self.encoder.step(keys[0]) as u32,
                    self.encoder.step(keys[1]) as u32,
                    self.encoder.step(keys[2]) as u32,
                    self.encoder.step(keys[3]) as u32,
                ]
            } else {
                core::mem::transmute(self.encoder.integers4(v, zero))
            };
            let entry = |i: usize| *self.table.add(codes[i] as usize & self.mask);
            let entries = f32x4(entry(0), entry(1), entry(2), entry(3));
            let decoded = f32x4_mul(f32x4_sub(entries, zero), four(self.stored));
            let error = f32x4_div(f32x4_sub(w, decoded), diagonal);
            let errors: [f32; 4] = core::mem::transmute(error);
            for i in 0..4 {
                *self.codes.add((row + i) * self.columns + column) = codes[i] as u8;
                *self.errors.add((row + i) * self.count + j) = errors[i];
            }
            error
        }
    }
}
