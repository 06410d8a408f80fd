//! Applies a sequence of plane rotations to the rows of a matrix: rows k and k + 1 become
//! `c x + s y` and `c y - s x`. Parallel over panels of 8 columns, which are copied to scratch.

use crate::tridiagonal_qr::ROTATION;
use crate::vector64::{Plain, Vector};

/// Columns of a panel.
pub const PANEL: usize = 8;

unsafe fn panels<V: Vector>(
    z: *mut f64,
    n: usize,
    rotations: *const f64,
    count: usize,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let block = scratch as *mut f64;
    for panel in begin..end {
        let first = panel * PANEL;
        let width = PANEL.min(n - first);
        for r in 0..n {
            z.add(r * n + first)
                .copy_to_nonoverlapping(block.add(r * PANEL), width);
        }
        for i in 0..count {
            let rotation = rotations.add(i * ROTATION);
            let x = block.add(*rotation as usize * PANEL);
            V::rotate(*rotation.add(1), *rotation.add(2), x, x.add(PANEL), width);
        }
        for r in 0..n {
            block
                .add(r * PANEL)
                .copy_to_nonoverlapping(z.add(r * n + first), width);
        }
    }
}

/// The definition. Scratch: `n` rows of 8.
pub unsafe fn scalar(
    z: *mut f64,
    n: usize,
    rotations: *const f64,
    count: usize,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    panels::<Plain>(z, n, rotations, count, scratch, begin, end);
}

/// By SIMD128; the row that two rotations share stays in registers.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    z: *mut f64,
    n: usize,
    rotations: *const f64,
    count: usize,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let block = scratch as *mut f64;
    for panel in begin..end {
        let first = panel * PANEL;
        if first + PANEL > n {
            panels::<Plain>(z, n, rotations, count, scratch, panel, panel + 1);
            continue;
        }
        for r in 0..n {
            z.add(r * n + first)
                .copy_to_nonoverlapping(block.add(r * PANEL), PANEL);
        }
        wide::rotate(block, rotations, count);
        for r in 0..n {
            block
                .add(r * PANEL)
                .copy_to_nonoverlapping(z.add(r * n + first), PANEL);
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::{PANEL, ROTATION};
    use crate::lanes::{load64, store64};
    use core::arch::wasm32::*;

    #[inline(always)]
    unsafe fn read(block: *const f64, row: usize) -> [v128; 4] {
        core::array::from_fn(|i| load64(block.add(row * PANEL + 2 * i)))
    }

    #[inline(always)]
    unsafe fn write(block: *mut f64, row: usize, values: [v128; 4]) {
        for (i, value) in values.into_iter().enumerate() {
            store64(block.add(row * PANEL + 2 * i), value);
        }
    }

    /// All rotations on rows of 8.
    pub unsafe fn rotate(block: *mut f64, rotations: *const f64, count: usize) {
        if count == 0 {
            return;
        }
        let mut row = *rotations as usize;
        let mut x = read(block, row);
        for i in 0..count {
            let rotation = rotations.add(i * ROTATION);
            let k = *rotation as usize;
            if k != row {
                write(block, row, x);
                x = read(block, k);
            }
            let c = v128_load64_splat(rotation.add(1) as *const u64);
            let s = v128_load64_splat(rotation.add(2) as *const u64);
            let y = read(block, k + 1);
            let turned: [v128; 4] =
                core::array::from_fn(|v| f64x2_add(f64x2_mul(c, x[v]), f64x2_mul(s, y[v])));
            write(block, k, turned);
            x = core::array::from_fn(|v| f64x2_sub(f64x2_mul(c, y[v]), f64x2_mul(s, x[v])));
            row = k + 1;
        }
        write(block, row, x);
    }
}
