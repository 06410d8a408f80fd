//! `gram += x^T x`: products summed in f32 over blocks of 128 rows, ascending from 0, block sums
//! added in f64, block after block. The upper triangle is computed and mirrored. `x` is in panels of
//! 16 columns, see `column_panels.rs`. Parallel over panels.

use crate::column_panels::{at, PANEL};

/// Rows whose products are summed in f32.
pub const BLOCK: usize = 128;

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    rows: usize,
    columns: usize,
    gram: *mut f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for j in begin * PANEL..(end * PANEL).min(columns) {
        for i in 0..=j {
            for top in (0..rows).step_by(BLOCK) {
                let mut sum = 0f32;
                for r in top..(top + BLOCK).min(rows) {
                    sum += *x.add(at(r, rows, i)) * *x.add(at(r, rows, j));
                }
                *gram.add(i * columns + j) += sum as f64;
            }
            *gram.add(j * columns + i) = *gram.add(i * columns + j);
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::lanes::{load64, opaque, promote, store64};
    use crate::linear_dense::tile::step;
    use core::arch::wasm32::*;

    /// Pairs of panels: 16 x 16 sums in scratch (2 KiB), to which blocks of rows are added in tiles of
    /// 4 x 8.
    pub unsafe fn simd(
        x: *const f32,
        rows: usize,
        columns: usize,
        gram: *mut f64,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let sums = scratch as *mut f64;
        for j in begin..end {
            let right = x.add(j * rows * PANEL);
            for i in 0..=j {
                let left = x.add(i * rows * PANEL);
                let place = Place::new(gram, columns, i, j);
                place.read(sums);
                for top in (0..rows).step_by(BLOCK) {
                    let depth = BLOCK.min(rows - top);
                    multiply(left.add(top * PANEL), right.add(top * PANEL), depth, sums);
                }
                place.write(sums);
            }
        }
    }

    /// Adds the products of one block of rows to the sums of a pair of panels.
    unsafe fn multiply(left: *const f32, right: *const f32, depth: usize, sums: *mut f64) {
        for di in (0..PANEL).step_by(4) {
            for dj in (0..PANEL).step_by(8) {
                let tile = tile(left.add(di), right.add(dj), depth);
                for (r, row) in tile.iter().enumerate() {
                    for (v, sum) in row.iter().enumerate() {
                        let (low, high) = promote(*sum);
                        let out = sums.add((di + r) * PANEL + dj + 4 * v);
                        store64(out, f64x2_add(load64(out), low));
                        store64(out.add(2), f64x2_add(load64(out.add(2)), high));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile(mut left: *const f32, mut right: *const f32, depth: usize) -> [[v128; 2]; 4] {
        let mut acc = [[f32x4_splat(0.0); 2]; 4];
        for _ in 0..depth {
            (left, right) = (opaque(left), opaque(right));
            step(&mut acc, left, right);
            left = left.add(PANEL);
            right = right.add(PANEL);
        }
        acc
    }

    /// Where the sums of a pair of panels are, above and below the diagonal.
    struct Place {
        gram: *mut f64,
        columns: usize,
        rows_from: usize,
        columns_from: usize,
        height: usize,
        width: usize,
    }

    impl Place {
        unsafe fn new(gram: *mut f64, columns: usize, i: usize, j: usize) -> Self {
            let (rows_from, columns_from) = (i * PANEL, j * PANEL);
            Self {
                gram,
                columns,
                rows_from,
                columns_from,
                height: PANEL.min(columns - rows_from),
                width: PANEL.min(columns - columns_from),
            }
        }

        unsafe fn read(&self, sums: *mut f64) {
            for r in 0..self.height {
                let row = self
                    .gram
                    .add((self.rows_from + r) * self.columns + self.columns_from);
                for c in 0..self.width {
                    *sums.add(r * PANEL + c) = *row.add(c);
                }
            }
        }

        /// Within a panel what is above the diagonal goes to both sides.
        unsafe fn write(&self, sums: *const f64) {
            let diagonal = self.rows_from == self.columns_from;
            if !diagonal {
                for r in 0..self.height {
                    let row = self
                        .gram
                        .add((self.rows_from + r) * self.columns + self.columns_from);
                    for c in 0..self.width {
                        *row.add(c) = *sums.add(r * PANEL + c);
                    }
                }
            }
            for c in 0..self.width {
                let row = self
                    .gram
                    .add((self.columns_from + c) * self.columns + self.rows_from);
                for r in 0..self.height {
                    *row.add(r) = if diagonal && r > c {
                        *sums.add(c * PANEL + r)
                    } else {
                        *sums.add(r * PANEL + c)
                    };
                }
            }
        }
    }
}
