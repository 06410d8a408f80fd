//! Rows become probabilities in place: exponentials of `x - max` in f32, their sum in f64 in four
//! partial sums (columns modulo 4), multiplied by the reciprocal of the sum. Parallel over rows.

use crate::attention::exponentials;
use crate::log_softmax::largest;

/// The definition.
pub unsafe fn scalar(x: *mut f32, columns: usize, _scratch: *mut u8, begin: usize, end: usize) {
    for r in begin..end {
        let x = x.add(r * columns);
        let max = largest(x, 0, columns, f32::NEG_INFINITY);
        let factor = exponentials(x, 0, columns, max, [0.0; 4]);
        for c in 0..columns {
            *x.add(c) *= factor;
        }
    }
}

/// Four columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(x: *mut f32, columns: usize, _scratch: *mut u8, begin: usize, end: usize) {
    use crate::lanes::{load, store};
    use core::arch::wasm32::*;
    let whole = columns / 4 * 4;
    for r in begin..end {
        let x = x.add(r * columns);
        let factor = crate::attention::exponentials4(x, columns);
        for c in (0..whole).step_by(4) {
            store(x.add(c), f32x4_mul(load(x.add(c)), f32x4_splat(factor)));
        }
        for c in whole..columns {
            *x.add(c) *= factor;
        }
    }
}
