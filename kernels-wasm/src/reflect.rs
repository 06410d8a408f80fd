//! Applies reflectors to rows of a matrix: for k from `last - 1` down to `first`,
//! `z -= beta_k (u_k . z) u_k` over the columns from `k + offset` on, where u_k lies in
//! `u[k, k + offset..]`. Parallel over groups of 4 rows of z, from row `top` on.

use crate::vector64::{Plain, Vector};

/// Rows that share the loads of a reflector.
pub const GROUP: usize = 4;

unsafe fn groups<V: Vector>(
    u: *const f64,
    width: usize,
    beta: *const f64,
    first: usize,
    last: usize,
    offset: usize,
    z: *mut f64,
    rows: usize,
    top: usize,
    begin: usize,
    end: usize,
) {
    for group in begin..end {
        let start = top + group * GROUP;
        let stop = (start + GROUP).min(rows);
        for k in (first..last).rev() {
            let from = k + offset;
            let reflector = u.add(k * width + from);
            for r in start..stop {
                let row = z.add(r * width + from);
                let dot = V::dot(reflector, row, width - from);
                V::axpy(-(*beta.add(k) * dot), reflector, row, width - from);
            }
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    u: *const f64,
    width: usize,
    beta: *const f64,
    first: usize,
    last: usize,
    offset: usize,
    z: *mut f64,
    rows: usize,
    top: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    groups::<Plain>(
        u, width, beta, first, last, offset, z, rows, top, begin, end,
    );
}

/// By SIMD128.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    u: *const f64,
    width: usize,
    beta: *const f64,
    first: usize,
    last: usize,
    offset: usize,
    z: *mut f64,
    rows: usize,
    top: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::vector64::Wide;
    groups::<Wide>(
        u, width, beta, first, last, offset, z, rows, top, begin, end,
    );
}
