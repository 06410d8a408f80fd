//! `x[r, c] *= factors[c]`. Parallel over rows.

/// The definition.
pub unsafe fn scalar(
    x: *mut f32,
    columns: usize,
    factors: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        scalar_row(x.add(r * columns), factors, 0, columns);
    }
}

unsafe fn scalar_row(row: *mut f32, factors: *const f32, begin: usize, end: usize) {
    for c in begin..end {
        *row.add(c) *= *factors.add(c);
    }
}

/// Four columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *mut f32,
    columns: usize,
    factors: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{load, store};
    use core::arch::wasm32::f32x4_mul;
    let whole = columns / 4 * 4;
    for r in begin..end {
        let row = x.add(r * columns);
        for c in (0..whole).step_by(4) {
            store(
                row.add(c),
                f32x4_mul(load(row.add(c)), load(factors.add(c))),
            );
        }
        scalar_row(row, factors, whole, columns);
    }
}
