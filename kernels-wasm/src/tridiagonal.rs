//! Householder reduction of a symmetric matrix to tridiagonal form, one column a step: `householder`
//! makes the reflector of a row, `tridiagonal` subtracts the reflection before it from every later
//! row and multiplies the row by the new reflector (parallel over rows), `tridiagonal_finish`
//! completes the vectors of the step.
//!
//! `work` is four vectors of length n: u and w of the reflection that is not yet subtracted, the new
//! u, and the products with it. Reflectors stay in the rows of the matrix: `u_k` in `a[k, k + 1..]`.

use crate::vector64::{Plain, Vector};
use wasm_bindgen::prelude::wasm_bindgen;

/// Makes the reflector that leaves one entry of `x[n]`, in place; returns that entry, and the factor
/// in `beta`: `H = 1 - beta u u^T`.
#[wasm_bindgen]
pub fn householder(x: *mut f64, n: usize, beta: *mut f64) -> f64 {
    unsafe {
        // scaled, so that no square overflows or vanishes
        let scale = (0..n).fold(0f64, |m, i| m.max((*x.add(i)).abs()));
        let tail = (1..n).fold(0f64, |m, i| m.max((*x.add(i)).abs()));
        if tail == 0.0 {
            let first = *x;
            *beta = 0.0;
            *x = 1.0;
            return first;
        }
        for i in 0..n {
            *x.add(i) /= scale;
        }
        let norm = libm::sqrt(Plain::dot(x, x, n));
        let first = *x;
        let left = if first > 0.0 { -norm } else { norm };
        *x = first - left;
        *beta = 2.0 / Plain::dot(x, x, n);
        left * scale
    }
}

/// Row k is made ready: the reflection before is subtracted from it, its diagonal entry is read,
/// and it becomes the reflector of the step. Returns nothing; `d[k]`, `e[k]` and `beta[k]` are set.
#[wasm_bindgen]
pub fn tridiagonal_start(
    a: *mut f64,
    n: usize,
    k: usize,
    work: *mut f64,
    d: *mut f64,
    e: *mut f64,
    beta: *mut f64,
) {
    unsafe {
        let (u, w, next) = (work, work.add(n), work.add(2 * n));
        let row = a.add(k * n);
        Plain::rank2(*w.add(k), u.add(k), *u.add(k), w.add(k), row.add(k), n - k);
        *d.add(k) = *row.add(k);
        if k + 1 < n {
            *e.add(k) = householder(row.add(k + 1), n - k - 1, beta.add(k));
            for i in k + 1..n {
                *next.add(i) = *row.add(i);
            }
        }
    }
}

unsafe fn rows<V: Vector>(
    a: *mut f64,
    n: usize,
    k: usize,
    work: *mut f64,
    begin: usize,
    end: usize,
) {
    let (u, w) = (work as *const f64, work.add(n) as *const f64);
    let (next, products) = (work.add(2 * n) as *const f64, work.add(3 * n));
    let first = k + 1;
    for r in first + begin..first + end {
        let row = a.add(r * n + first);
        V::rank2(
            *w.add(r),
            u.add(first),
            *u.add(r),
            w.add(first),
            row,
            n - first,
        );
        *products.add(r) = V::dot(row, next.add(first), n - first);
    }
}

/// The definition: rows `k + 1 + begin .. k + 1 + end`.
pub unsafe fn scalar(
    a: *mut f64,
    n: usize,
    k: usize,
    work: *mut f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    rows::<Plain>(a, n, k, work, begin, end);
}

/// By SIMD128.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    a: *mut f64,
    n: usize,
    k: usize,
    work: *mut f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    rows::<crate::vector64::Wide>(a, n, k, work, begin, end);
}

/// The new reflection `A - u w^T - w u^T` takes the place of the one before.
#[wasm_bindgen]
pub fn tridiagonal_finish(n: usize, k: usize, work: *mut f64, beta: f64) {
    unsafe {
        let first = k + 1;
        let (u, w) = (work, work.add(n));
        let (next, products) = (work.add(2 * n), work.add(3 * n));
        let dot = Plain::dot(products.add(first), next.add(first), n - first);
        let half = beta * beta * dot / 2.0;
        for i in first..n {
            *u.add(i) = *next.add(i);
            *w.add(i) = beta * *products.add(i) - half * *next.add(i);
        }
    }
}
