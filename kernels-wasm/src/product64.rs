//! f64 products: `y = a b` (`[rows, inner] x [inner, columns]`), or with `transposed` `y = a b^T`
//! (`b` `[columns, inner]`, only the entries up to the diagonal). Parallel over rows of y.

use crate::vector64::{Plain, Vector};

unsafe fn rows<V: Vector>(
    a: *const f64,
    b: *const f64,
    y: *mut f64,
    inner: usize,
    columns: usize,
    transposed: u32,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        let (row, out) = (a.add(r * inner), y.add(r * columns));
        if transposed != 0 {
            for c in 0..columns.min(r + 1) {
                *out.add(c) = V::dot(row, b.add(c * inner), inner);
            }
            continue;
        }
        for c in 0..columns {
            *out.add(c) = 0.0;
        }
        for k in 0..inner {
            V::axpy(*row.add(k), b.add(k * columns), out, columns);
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    a: *const f64,
    b: *const f64,
    y: *mut f64,
    inner: usize,
    columns: usize,
    transposed: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    rows::<Plain>(a, b, y, inner, columns, transposed, begin, end);
}

/// By SIMD128.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    a: *const f64,
    b: *const f64,
    y: *mut f64,
    inner: usize,
    columns: usize,
    transposed: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    rows::<crate::vector64::Wide>(a, b, y, inner, columns, transposed, begin, end);
}
