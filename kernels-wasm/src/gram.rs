//! `gram += x^T x`: products summed in f32 over blocks of 128 rows, ascending from 0, block sums
//! added in f64. The upper triangle is computed and mirrored. Parallel over panels of 16 columns.

/// Columns of a panel.
pub const PANEL: usize = 16;
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
                    sum += *x.add(r * columns + i) * *x.add(r * columns + j);
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
    use crate::lanes::{copy16, load, load64, promote, splat, store64};
    use core::arch::wasm32::*;

    /// Panels of 128 x 16 in scratch (2 x 8 KiB), multiplied in tiles of 4 x 8.
    pub unsafe fn simd(
        x: *const f32,
        rows: usize,
        columns: usize,
        gram: *mut f64,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let right = scratch as *mut f32;
        let left = right.add(BLOCK * PANEL);
        for j in begin..end {
            for top in (0..rows).step_by(BLOCK) {
                let depth = BLOCK.min(rows - top);
                let block = x.add(top * columns);
                copy_panel(block, columns, j, depth, right);
                for i in 0..=j {
                    copy_panel(block, columns, i, depth, left);
                    multiply(left, right, depth, gram, columns, i * PANEL, j * PANEL);
                }
            }
            mirror(gram, columns, j * PANEL);
        }
    }

    /// Columns of a panel, filled up with zeros, as `[depth][16]`.
    unsafe fn copy_panel(x: *const f32, columns: usize, panel: usize, depth: usize, out: *mut f32) {
        let first = panel * PANEL;
        let width = PANEL.min(columns - first);
        for r in 0..depth {
            let row = out.add(r * PANEL);
            if width == PANEL {
                copy16(x.add(r * columns + first), row);
            } else {
                for c in 0..PANEL {
                    *row.add(c) = if c < width {
                        *x.add(r * columns + first + c)
                    } else {
                        0.0
                    };
                }
            }
        }
    }

    unsafe fn multiply(
        left: *const f32,
        right: *const f32,
        depth: usize,
        gram: *mut f64,
        columns: usize,
        i: usize,
        j: usize,
    ) {
        for di in (0..PANEL).step_by(4) {
            for dj in (0..PANEL).step_by(8) {
                let sums = tile(left.add(di), right.add(dj), depth);
                for (r, sums) in sums.iter().enumerate() {
                    if i + di + r < columns {
                        let out = gram.add((i + di + r) * columns + j + dj);
                        add(out, sums, columns.saturating_sub(j + dj));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile(left: *const f32, right: *const f32, depth: usize) -> [[v128; 2]; 4] {
        let mut acc = [[f32x4_splat(0.0); 2]; 4];
        for k in 0..depth {
            let (w0, w1) = (load(right.add(k * PANEL)), load(right.add(k * PANEL + 4)));
            for (r, acc) in acc.iter_mut().enumerate() {
                let value = splat(left.add(k * PANEL + r));
                acc[0] = f32x4_add(acc[0], f32x4_mul(value, w0));
                acc[1] = f32x4_add(acc[1], f32x4_mul(value, w1));
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn add(out: *mut f64, sums: &[v128; 2], valid: usize) {
        if valid >= 8 {
            for (v, sum) in sums.iter().enumerate() {
                let (low, high) = promote(*sum);
                let out = out.add(4 * v);
                store64(out, f64x2_add(load64(out), low));
                store64(out.add(2), f64x2_add(load64(out.add(2)), high));
            }
        } else {
            let sums: &[f32; 8] = core::mem::transmute(sums);
            for (c, sum) in sums.iter().enumerate().take(valid) {
                *out.add(c) += *sum as f64;
            }
        }
    }

    /// Copies the finished columns of a panel to the rows below the diagonal.
    unsafe fn mirror(gram: *mut f64, columns: usize, first: usize) {
        for j in first..(first + PANEL).min(columns) {
            for i in 0..j {
                *gram.add(j * columns + i) = *gram.add(i * columns + j);
            }
        }
    }
}
