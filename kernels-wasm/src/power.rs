//! `y = x^exponent` in f64, rounded to f32; `x >= 0`. Parallel over elements.

use crate::pow::pow64;

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    exponent: f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for i in begin..end {
        *y.add(i) = pow64(*x.add(i) as f64, exponent) as f32;
    }
}

/// Four elements at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *mut f32,
    exponent: f64,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{load, promote, store};
    use crate::pow::pow64x2;
    use core::arch::wasm32::*;
    let whole = begin + (end - begin) / 4 * 4;
    for i in (begin..whole).step_by(4) {
        let (a, b) = promote(load(x.add(i)));
        let a = f32x4_demote_f64x2_zero(pow64x2(a, exponent));
        let b = f32x4_demote_f64x2_zero(pow64x2(b, exponent));
        store(y.add(i), i64x2_shuffle::<0, 2>(a, b));
    }
    scalar(x, y, exponent, scratch, whole, end);
}
