//! Rows become log-probabilities: `x - (max + ln(sum(e^(x - max))))`. Exponentials in f32, their sum
//! in f64 in four partial sums (columns modulo 4), the last step in f64. Parallel over rows.

use crate::exp::exp32;

/// The largest value; a NaN never becomes it.
pub unsafe fn largest(x: *const f32, from: usize, columns: usize, so_far: f32) -> f32 {
    (from..columns).fold(so_far, |m, c| if *x.add(c) > m { *x.add(c) } else { m })
}

unsafe fn sums(
    x: *const f32,
    from: usize,
    columns: usize,
    max: f32,
    mut sums: [f64; 4],
) -> [f64; 4] {
    for c in from..columns {
        sums[c % 4] += exp32(*x.add(c) - max) as f64;
    }
    sums
}

fn shift(max: f32, sums: [f64; 4]) -> f64 {
    max as f64 + libm::log((sums[0] + sums[2]) + (sums[1] + sums[3]))
}

unsafe fn subtract(x: *mut f32, from: usize, columns: usize, shift: f64) {
    for c in from..columns {
        *x.add(c) = (*x.add(c) as f64 - shift) as f32;
    }
}

/// The definition.
pub unsafe fn scalar(x: *mut f32, columns: usize, _scratch: *mut u8, begin: usize, end: usize) {
    for r in begin..end {
        let x = x.add(r * columns);
        let max = largest(x, 0, columns, f32::NEG_INFINITY);
        subtract(
            x,
            0,
            columns,
            shift(max, sums(x, 0, columns, max, [0.0; 4])),
        );
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::{largest4, simd};

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::exp::exp32x4;
    use crate::lanes::{lanes2, lanes4, load, promote, store};
    use core::arch::wasm32::*;

    /// The largest value, four columns at a time.
    #[inline(always)]
    pub unsafe fn largest4(x: *const f32, columns: usize) -> f32 {
        let whole = columns / 4 * 4;
        let mut most = f32x4_splat(f32::NEG_INFINITY);
        for c in (0..whole).step_by(4) {
            most = f32x4_pmax(most, load(x.add(c)));
        }
        let max = lanes4(most)
            .into_iter()
            .fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m });
        largest(x, whole, columns, max)
    }

    /// Four columns at a time.
    pub unsafe fn simd(x: *mut f32, columns: usize, _scratch: *mut u8, begin: usize, end: usize) {
        let whole = columns / 4 * 4;
        for r in begin..end {
            let x = x.add(r * columns);
            let max = largest4(x, columns);
            let (mut low, mut high) = (f64x2_splat(0.0), f64x2_splat(0.0));
            for c in (0..whole).step_by(4) {
                let (a, b) = promote(exp32x4(f32x4_sub(load(x.add(c)), f32x4_splat(max))));
                low = f64x2_add(low, a);
                high = f64x2_add(high, b);
            }
            let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
            let shift = shift(max, sums(x, whole, columns, max, [s0, s1, s2, s3]));
            let shifts = f64x2_splat(shift);
            for c in (0..whole).step_by(4) {
                let (a, b) = promote(load(x.add(c)));
                let a = f32x4_demote_f64x2_zero(f64x2_sub(a, shifts));
                let b = f32x4_demote_f64x2_zero(f64x2_sub(b, shifts));
                store(x.add(c), i64x2_shuffle::<0, 2>(a, b));
            }
            subtract(x, whole, columns, shift);
        }
    }
}
