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

/// By SIMD128.
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
    panels::<crate::vector64::Wide>(z, n, rotations, count, scratch, begin, end);
}
