//! `y += x`. Parallel over elements.

/// The definition.
pub unsafe fn scalar(x: *const f32, y: *mut f32, _scratch: *mut u8, begin: usize, end: usize) {
    for i in begin..end {
        *y.add(i) += *x.add(i);
    }
}

/// Four elements at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(x: *const f32, y: *mut f32, scratch: *mut u8, begin: usize, end: usize) {
    use crate::lanes::{load, store};
    use core::arch::wasm32::f32x4_add;
    let whole = begin + (end - begin) / 4 * 4;
    for i in (begin..whole).step_by(4) {
        store(y.add(i), f32x4_add(load(y.add(i)), load(x.add(i))));
    }
    scalar(x, y, scratch, whole, end);
}
