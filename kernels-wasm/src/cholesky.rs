//! The pieces of `inverseCholesky`: `H = R R^T` with R upper triangular, then `U = R^-1`, so that
//! `H^-1 = U^T U`. H is `[n, n]` f64; only its upper triangle is read, and R, then U take its place.
//!
//! The caller walks blocks of 64 columns: from the last to the first `cholesky_diagonal`,
//! `cholesky_panel`, `cholesky_update`; then from the first to the last `inverse_diagonal`,
//! `inverse_panel`, `inverse_update`; then `inverse_finish`. The row ranges are parallel.

use wasm_bindgen::prelude::wasm_bindgen;

/// Columns of a block.
pub const BLOCK: usize = 64;
/// Columns of a packed panel.
pub const PANEL: usize = 8;

/// Factors the diagonal block; 0 if it is not positive definite.
#[wasm_bindgen]
pub fn cholesky_diagonal(h: *mut f64, n: usize, first: usize, size: usize) -> u32 {
    let at = |i: usize, j: usize| unsafe { h.add((first + i) * n + first + j) };
    unsafe {
        for j in (0..size).rev() {
            let pivot = (j + 1..size).fold(*at(j, j), |d, p| d - *at(j, p) * *at(j, p));
            if !(pivot > 0.0 && pivot < f64::INFINITY) {
                return 0;
            }
            *at(j, j) = libm::sqrt(pivot);
            for i in 0..j {
                let rest = (j + 1..size).fold(*at(i, j), |d, p| d - *at(i, p) * *at(j, p));
                *at(i, j) = rest / *at(j, j);
            }
        }
    }
    1
}

/// Inverts the diagonal block of R.
#[wasm_bindgen]
pub fn inverse_diagonal(h: *mut f64, n: usize, first: usize, size: usize) {
    let at = |i: usize, j: usize| unsafe { h.add((first + i) * n + first + j) };
    unsafe {
        for j in 0..size {
            let pivot = 1.0 / *at(j, j);
            for i in 0..j {
                let sum = (i..j).fold(0.0, |sum, p| sum + *at(i, p) * *at(p, j));
                *at(i, j) = -sum * pivot;
            }
            *at(j, j) = pivot;
        }
    }
}

/// Rows `begin..end` of U as f32, zero below the diagonal.
#[wasm_bindgen]
pub fn inverse_finish(
    h: *const f64,
    n: usize,
    u: *mut f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for i in begin..end {
        for j in 0..n {
            unsafe { *u.add(i * n + j) = if j < i { 0.0 } else { *h.add(i * n + j) as f32 } };
        }
    }
}

/// Exports a parallel piece as `name` and `name_scalar`.
macro_rules! piece {
    ($name:ident, $scalar:ident, ($($arg:ident: $type:ty),*)) => {
        #[cfg(target_arch = "wasm32")]
        #[wasm_bindgen]
        pub fn $name(h: *mut f64, n: usize, first: usize, size: usize, $($arg: $type,)* scratch: *mut u8, begin: usize, end: usize) {
            unsafe { wide::$name(h, n, first, size, $($arg,)* scratch, begin, end) }
        }
        #[wasm_bindgen]
        pub fn $scalar(h: *mut f64, n: usize, first: usize, size: usize, $($arg: $type,)* scratch: *mut u8, begin: usize, end: usize) {
            unsafe { plain::$name(h, n, first, size, $($arg,)* scratch, begin, end) }
        }
    };
}

piece!(cholesky_panel, cholesky_panel_scalar, ());
piece!(cholesky_update, cholesky_update_scalar, ());
piece!(inverse_panel, inverse_panel_scalar, (t: *mut f64));
piece!(inverse_update, inverse_update_scalar, (t: *const f64));

/// The definitions.
pub mod plain {
    use super::{BLOCK, PANEL};

    /// Rows above the block: `R[i, J] = H[i, J] R[J, J]^-T`.
    pub unsafe fn cholesky_panel(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        _scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let at = |i: usize, j: usize| h.add(i * n + first + j);
        for i in begin..end {
            for j in (0..size).rev() {
                let value = *at(i, j) / *at(first + j, j);
                *at(i, j) = value;
                for p in 0..j {
                    *at(i, p) -= value * *at(first + p, j);
                }
            }
        }
    }

    /// Panels of 8 columns left of the block: `H[i, j] -= R[i, J] . R[j, J]`.
    pub unsafe fn cholesky_update(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        _scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let at = |i: usize, j: usize| h.add(i * n + j);
        for j in begin * PANEL..end * PANEL {
            for i in 0..(j / PANEL + 1) * PANEL {
                let sum = (first..first + size).fold(0.0, |sum, p| sum + *at(i, p) * *at(j, p));
                *at(i, j) -= sum;
            }
        }
    }

    /// Rows above the block: `T[i] = R[i, J] U[J, J]`; T is `[64 / 8][first][8]`.
    pub unsafe fn inverse_panel(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        t: *mut f64,
        _scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let at = |i: usize, j: usize| h.add(i * n + first + j);
        for i in begin..end {
            for c in 0..BLOCK {
                let last = if c < size { c + 1 } else { 0 };
                let sum = (0..last).fold(0.0, |sum, p| sum + *at(i, p) * *at(first + p, c));
                *t.add((c / PANEL * first + i) * PANEL + c % PANEL) = sum;
            }
        }
    }

    /// Tiles of 4 rows above the block: `U[i, J] = -U[i, i..first] T[i..first]`.
    pub unsafe fn inverse_update(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        t: *const f64,
        _scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        for i in begin * 4..end * 4 {
            for c in 0..size {
                let t = t.add(c / PANEL * first * PANEL + c % PANEL);
                let sum =
                    (i..first).fold(0.0, |sum, p| sum + *h.add(i * n + p) * *t.add(p * PANEL));
                *h.add(i * n + first + c) = -sum;
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::{BLOCK, PANEL};
    use crate::lanes::{lanes2, load64, store64};
    use core::arch::wasm32::*;

    type Tile = [[v128; 2]; 4];

    /// `acc += a[4, depth] b[depth, 4]`; b has the stride of a panel.
    #[inline(always)]
    unsafe fn multiply(
        mut acc: Tile,
        a: *const f64,
        stride: usize,
        b: *const f64,
        depth: usize,
    ) -> Tile {
        for p in 0..depth {
            let (b0, b1) = (load64(b.add(p * PANEL)), load64(b.add(p * PANEL + 2)));
            for (r, acc) in acc.iter_mut().enumerate() {
                let value = v128_load64_splat(a.add(r * stride + p) as *const u64);
                acc[0] = f64x2_add(acc[0], f64x2_mul(value, b0));
                acc[1] = f64x2_add(acc[1], f64x2_mul(value, b1));
            }
        }
        acc
    }

    pub unsafe fn cholesky_panel(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        // the block transposed, so that a column of R is contiguous
        let block = scratch as *mut f64;
        for p in 0..size {
            for j in p..size {
                *block.add(j * BLOCK + p) = *h.add((first + p) * n + first + j);
            }
        }
        for i in begin..end {
            let row = h.add(i * n + first);
            for j in (0..size).rev() {
                let column = block.add(j * BLOCK);
                let value = *row.add(j) / *column.add(j);
                *row.add(j) = value;
                let whole = j / 2 * 2;
                for p in (0..whole).step_by(2) {
                    let product = f64x2_mul(f64x2_splat(value), load64(column.add(p)));
                    store64(row.add(p), f64x2_sub(load64(row.add(p)), product));
                }
                if whole < j {
                    *row.add(whole) -= value * *column.add(whole);
                }
            }
        }
    }

    pub unsafe fn cholesky_update(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let panel = scratch as *mut f64;
        for j in begin..end {
            for p in 0..size {
                for c in 0..PANEL {
                    *panel.add(p * PANEL + c) = *h.add((j * PANEL + c) * n + first + p);
                }
            }
            for i in (0..(j + 1) * PANEL).step_by(4) {
                for c in (0..PANEL).step_by(4) {
                    let zero = [[f64x2_splat(0.0); 2]; 4];
                    let sums = multiply(zero, h.add(i * n + first), n, panel.add(c), size);
                    for (r, sums) in sums.iter().enumerate() {
                        let out = h.add((i + r) * n + j * PANEL + c);
                        store64(out, f64x2_sub(load64(out), sums[0]));
                        store64(out.add(2), f64x2_sub(load64(out.add(2)), sums[1]));
                    }
                }
            }
        }
    }

    pub unsafe fn inverse_panel(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        t: *mut f64,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let block = scratch as *mut f64;
        for p in 0..size {
            for c in 0..BLOCK {
                let value = if c >= p && c < size {
                    *h.add((first + p) * n + first + c)
                } else {
                    0.0
                };
                *block.add((c / PANEL * BLOCK + p) * PANEL + c % PANEL) = value;
            }
        }
        let mut i = begin;
        while i < end {
            let rows = if end - i >= 4 { 4 } else { 1 };
            for c in (0..BLOCK).step_by(4) {
                let b = block.add(c / PANEL * BLOCK * PANEL + c % PANEL);
                let out = t.add((c / PANEL * first + i) * PANEL + c % PANEL);
                // a single row is multiplied four times, and stored once
                let step = if rows == 4 { n } else { 0 };
                let zero = [[f64x2_splat(0.0); 2]; 4];
                let sums = multiply(zero, h.add(i * n + first), step, b, size);
                for r in 0..rows {
                    store64(out.add(r * PANEL), sums[r][0]);
                    store64(out.add(r * PANEL + 2), sums[r][1]);
                }
            }
            i += rows;
        }
    }

    pub unsafe fn inverse_update(
        h: *mut f64,
        n: usize,
        first: usize,
        size: usize,
        t: *const f64,
        _scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        for i in (begin * 4..end * 4).step_by(4) {
            for c in (0..size).step_by(4) {
                let t = t.add(c / PANEL * first * PANEL + c % PANEL);
                let mut acc = [[f64x2_splat(0.0); 2]; 4];
                for (r, acc) in acc.iter_mut().enumerate() {
                    for p in i + r..i + 4 {
                        let value = f64x2_splat(*h.add((i + r) * n + p));
                        acc[0] = f64x2_add(acc[0], f64x2_mul(value, load64(t.add(p * PANEL))));
                        acc[1] = f64x2_add(acc[1], f64x2_mul(value, load64(t.add(p * PANEL + 2))));
                    }
                }
                let rest = first - (i + 4);
                let sums = multiply(acc, h.add(i * n + i + 4), n, t.add((i + 4) * PANEL), rest);
                for (r, sums) in sums.iter().enumerate() {
                    let out = h.add((i + r) * n + first + c);
                    let ([a, b], [d, e]) = (lanes2(f64x2_neg(sums[0])), lanes2(f64x2_neg(sums[1])));
                    for (k, v) in [a, b, d, e].into_iter().enumerate().take(size - c) {
                        *out.add(k) = v;
                    }
                }
            }
        }
    }
}
