//! `w[r, c] -= errors[r, i] * u[start + i, c]` for `i` ascending, one subtraction after the other,
//! for the columns after the block: the same f32 operations as column by column, so that the size
//! of blocks does not matter. Parallel over panels of 16 columns from `start + count` on.

/// Columns of a panel.
pub const PANEL: usize = 16;
#[cfg(target_arch = "wasm32")]
const DEPTH: usize = 256;

unsafe fn scalar_columns(
    w: *mut f32,
    rows: usize,
    columns: usize,
    start: usize,
    count: usize,
    errors: *const f32,
    u: *const f32,
    first: usize,
    last: usize,
) {
    for r in 0..rows {
        for c in first..last {
            let mut value = *w.add(r * columns + c);
            for i in 0..count {
                value -= *errors.add(r * count + i) * *u.add((start + i) * columns + c);
            }
            *w.add(r * columns + c) = value;
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    w: *mut f32,
    rows: usize,
    columns: usize,
    start: usize,
    count: usize,
    errors: *const f32,
    u: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let first = start + count + begin * PANEL;
    let last = (start + count + end * PANEL).min(columns);
    scalar_columns(w, rows, columns, start, count, errors, u, first, last);
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::lanes::{copy16, load, splat, store};
    use core::arch::wasm32::*;

    /// Copies rows of u to scratch, then updates tiles of 4 rows x 8 columns.
    pub unsafe fn simd(
        w: *mut f32,
        rows: usize,
        columns: usize,
        start: usize,
        count: usize,
        errors: *const f32,
        u: *const f32,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let panel = scratch as *mut f32;
        for p in begin..end {
            let first = start + count + p * PANEL;
            if first + PANEL > columns {
                scalar_columns(w, rows, columns, start, count, errors, u, first, columns);
                continue;
            }
            for top in (0..count).step_by(DEPTH) {
                let depth = DEPTH.min(count - top);
                for i in 0..depth {
                    copy16(
                        u.add((start + top + i) * columns + first),
                        panel.add(i * PANEL),
                    );
                }
                update_rows(
                    w.add(first),
                    rows,
                    columns,
                    errors.add(top),
                    count,
                    panel,
                    depth,
                );
            }
        }
    }

    unsafe fn update_rows(
        w: *mut f32,
        rows: usize,
        stride: usize,
        errors: *const f32,
        count: usize,
        panel: *const f32,
        depth: usize,
    ) {
        let mut r = 0;
        while r + 4 <= rows {
            update::<4>(
                w.add(r * stride),
                stride,
                errors.add(r * count),
                count,
                panel,
                depth,
            );
            r += 4;
        }
        while r < rows {
            update::<1>(
                w.add(r * stride),
                stride,
                errors.add(r * count),
                count,
                panel,
                depth,
            );
            r += 1;
        }
    }

    #[inline(always)]
    unsafe fn update<const ROWS: usize>(
        w: *mut f32,
        stride: usize,
        errors: *const f32,
        count: usize,
        panel: *const f32,
        depth: usize,
    ) {
        for half in 0..2 {
            let at = |r: usize, v: usize| w.add(r * stride + 8 * half + 4 * v);
            let panel = panel.add(8 * half);
            let mut acc: [[v128; 2]; ROWS] =
                core::array::from_fn(|r| core::array::from_fn(|v| load(at(r, v))));
            for i in 0..depth {
                let (u0, u1) = (load(panel.add(i * PANEL)), load(panel.add(i * PANEL + 4)));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let e = splat(errors.add(r * count + i));
                    acc[0] = f32x4_sub(acc[0], f32x4_mul(e, u0));
                    acc[1] = f32x4_sub(acc[1], f32x4_mul(e, u1));
                }
            }
            for (r, acc) in acc.iter().enumerate() {
                store(at(r, 0), acc[0]);
                store(at(r, 1), acc[1]);
            }
        }
    }
}
