//! Operations on f64 vectors in two forms, plain and by SIMD128, with the same order of additions.
//! The algorithms of linear algebra are written once over them.

/// What the algorithms need. A sum runs in four partial sums (positions modulo 4), added as
/// `(s0 + s2) + (s1 + s3)`.
pub trait Vector {
    /// `sum a[i] b[i]`.
    unsafe fn dot(a: *const f64, b: *const f64, n: usize) -> f64;
    /// `y[i] += a x[i]`.
    unsafe fn axpy(a: f64, x: *const f64, y: *mut f64, n: usize);
    /// `x, y = c x + s y, c y - s x`.
    unsafe fn rotate(c: f64, s: f64, x: *mut f64, y: *mut f64, n: usize);
    /// `y[i] -= a u[i] + b w[i]`.
    unsafe fn rank2(a: f64, u: *const f64, b: f64, w: *const f64, y: *mut f64, n: usize);
}

/// The definition.
pub struct Plain;

unsafe fn products(a: *const f64, b: *const f64, from: usize, n: usize, mut s: [f64; 4]) -> f64 {
    for i in from..n {
        s[i % 4] += *a.add(i) * *b.add(i);
    }
    (s[0] + s[2]) + (s[1] + s[3])
}

impl Vector for Plain {
    unsafe fn dot(a: *const f64, b: *const f64, n: usize) -> f64 {
        products(a, b, 0, n, [0.0; 4])
    }

    unsafe fn axpy(a: f64, x: *const f64, y: *mut f64, n: usize) {
        for i in 0..n {
            *y.add(i) += a * *x.add(i);
        }
    }

    unsafe fn rotate(c: f64, s: f64, x: *mut f64, y: *mut f64, n: usize) {
        for i in 0..n {
            let (p, q) = (*x.add(i), *y.add(i));
            *x.add(i) = c * p + s * q;
            *y.add(i) = c * q - s * p;
        }
    }

    unsafe fn rank2(a: f64, u: *const f64, b: f64, w: *const f64, y: *mut f64, n: usize) {
        for i in 0..n {
            *y.add(i) -= a * *u.add(i) + b * *w.add(i);
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::Wide;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::{products, Plain, Vector};
    use crate::lanes::{lanes2, load64, store64};
    use core::arch::wasm32::*;

    /// By SIMD128.
    pub struct Wide;

    impl Vector for Wide {
        #[inline(always)]
        unsafe fn dot(a: *const f64, b: *const f64, n: usize) -> f64 {
            let whole = n / 4 * 4;
            let (mut low, mut high) = (f64x2_splat(0.0), f64x2_splat(0.0));
            for i in (0..whole).step_by(4) {
                low = f64x2_add(low, f64x2_mul(load64(a.add(i)), load64(b.add(i))));
                let product = f64x2_mul(load64(a.add(i + 2)), load64(b.add(i + 2)));
                high = f64x2_add(high, product);
            }
            let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
            products(a, b, whole, n, [s0, s1, s2, s3])
        }

        #[inline(always)]
        unsafe fn axpy(a: f64, x: *const f64, y: *mut f64, n: usize) {
            let whole = n / 4 * 4;
            let factor = f64x2_splat(a);
            for i in (0..whole).step_by(2) {
                let sum = f64x2_add(load64(y.add(i)), f64x2_mul(factor, load64(x.add(i))));
                store64(y.add(i), sum);
            }
            Plain::axpy(a, x.add(whole), y.add(whole), n - whole);
        }

        #[inline(always)]
        unsafe fn rotate(c: f64, s: f64, x: *mut f64, y: *mut f64, n: usize) {
            let whole = n / 2 * 2;
            let (cos, sin) = (f64x2_splat(c), f64x2_splat(s));
            for i in (0..whole).step_by(2) {
                let (p, q) = (load64(x.add(i)), load64(y.add(i)));
                store64(x.add(i), f64x2_add(f64x2_mul(cos, p), f64x2_mul(sin, q)));
                store64(y.add(i), f64x2_sub(f64x2_mul(cos, q), f64x2_mul(sin, p)));
            }
            Plain::rotate(c, s, x.add(whole), y.add(whole), n - whole);
        }

        #[inline(always)]
        unsafe fn rank2(a: f64, u: *const f64, b: f64, w: *const f64, y: *mut f64, n: usize) {
            let whole = n / 2 * 2;
            let (first, second) = (f64x2_splat(a), f64x2_splat(b));
            for i in (0..whole).step_by(2) {
                let sum = f64x2_add(
                    f64x2_mul(first, load64(u.add(i))),
                    f64x2_mul(second, load64(w.add(i))),
                );
                store64(y.add(i), f64x2_sub(load64(y.add(i)), sum));
            }
            let rest = n - whole;
            Plain::rank2(a, u.add(whole), b, w.add(whole), y.add(whole), rest);
        }
    }
}
