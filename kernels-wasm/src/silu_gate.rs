//! `y = gate / (1 + e^-gate) * up`. Parallel over elements.

use crate::exp::exp32;

/// The definition.
pub unsafe fn scalar(
    gate: *const f32,
    up: *const f32,
    y: *mut f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for i in begin..end {
        let g = *gate.add(i);
        *y.add(i) = g / (1.0 + exp32(-g)) * *up.add(i);
    }
}

/// Four elements at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    gate: *const f32,
    up: *const f32,
    y: *mut f32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::exp::exp32x4;
    use crate::lanes::{load, store};
    use core::arch::wasm32::*;
    let whole = begin + (end - begin) / 4 * 4;
    for i in (begin..whole).step_by(4) {
        let g = load(gate.add(i));
        let silu = f32x4_div(g, f32x4_add(f32x4_splat(1.0), exp32x4(f32x4_neg(g))));
        store(y.add(i), f32x4_mul(silu, load(up.add(i))));
    }
    scalar(gate, up, y, scratch, whole, end);
}
