//! The largest magnitude of every row; a NaN never becomes it. Parallel over rows.

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    columns: usize,
    y: *mut f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        *y.add(r) = most(x.add(r * columns), 0, columns, 0.0);
    }
}

unsafe fn most(x: *const f32, from: usize, columns: usize, so_far: f32) -> f32 {
    (from..columns).fold(so_far, |m, c| {
        let v = (*x.add(c)).abs();
        if v > m {
            v
        } else {
            m
        }
    })
}

/// Four columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    columns: usize,
    y: *mut f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{lanes4, load};
    use core::arch::wasm32::*;
    let whole = columns / 4 * 4;
    for r in begin..end {
        let x = x.add(r * columns);
        let mut m = f32x4_splat(0.0);
        for c in (0..whole).step_by(4) {
            m = f32x4_pmax(m, f32x4_abs(load(x.add(c))));
        }
        let so_far = lanes4(m)
            .into_iter()
            .fold(0.0, |m, v| if v > m { v } else { m });
        *y.add(r) = most(x, whole, columns, so_far);
    }
}
