//! Activation functions, element by element: 0 ReLU, 1 SiLU `x / (1 + e^-x)`, 2 GELU `x Phi(x)`,
//! 3 GELU with tanh, `x / (1 + e^(-2 u))`, `u = sqrt(2 / pi) (x + 0.044715 x^3)`. Parallel over
//! elements.
//!
//! `erfc(z) = t P(t) e^(-z^2)`, `t = 1 / (1 + 0.4 z)`, P fitted to scipy's erfcx: the error of erfc
//! is below 1e-9 before rounding to f32.

use crate::exp::exp32;

/// P from the highest power down.
const ERFC: [f32; 8] = [
    0.077_270_75,
    -0.407_486_44,
    0.707_351_9,
    -0.395_176_9,
    0.419_421,
    0.137_001_3,
    0.236_653_64,
    0.224_964_7,
];
const STEP: f32 = 0.4;
const HALF_ROOT: f32 = core::f32::consts::FRAC_1_SQRT_2;
/// `-2 sqrt(2 / pi)`.
const TANH: f32 = -1.595_769;
const CUBE: f32 = 0.044_715;

fn logistic(x: f32, exponent: f32) -> f32 {
    x / (1.0 + exp32(exponent))
}

fn value(kind: u32, x: f32) -> f32 {
    match kind {
        0 => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        1 => logistic(x, -x),
        2 => {
            let z = x.abs() * HALF_ROOT;
            let t = 1.0 / (1.0 + STEP * z);
            let p = ERFC[1..].iter().fold(ERFC[0], |p, c| p * t + c) * t;
            let tail = 0.5 * (p * exp32(-(z * z)));
            x * if x < 0.0 { tail } else { 1.0 - tail }
        }
        _ => logistic(x, TANH * (x + CUBE * x * x * x)),
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    kind: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for i in begin..end {
        *y.add(i) = value(kind, *x.add(i));
    }
}

/// Four elements at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *mut f32,
    kind: u32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{load, store};
    let whole = begin + (end - begin) / 4 * 4;
    for i in (begin..whole).step_by(4) {
        store(y.add(i), wide::value(kind, load(x.add(i))));
    }
    scalar(x, y, kind, scratch, whole, end);
}

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::exp::exp32x4;
    use core::arch::wasm32::*;

    fn logistic(x: v128, exponent: v128) -> v128 {
        f32x4_div(x, f32x4_add(f32x4_splat(1.0), exp32x4(exponent)))
    }

    fn gelu(x: v128) -> v128 {
        let one = f32x4_splat(1.0);
        let z = f32x4_mul(f32x4_abs(x), f32x4_splat(HALF_ROOT));
        let t = f32x4_div(one, f32x4_add(one, f32x4_mul(f32x4_splat(STEP), z)));
        let p = ERFC[1..].iter().fold(f32x4_splat(ERFC[0]), |p, c| {
            f32x4_add(f32x4_mul(p, t), f32x4_splat(*c))
        });
        let e = f32x4_mul(f32x4_mul(p, t), exp32x4(f32x4_neg(f32x4_mul(z, z))));
        let tail = f32x4_mul(f32x4_splat(0.5), e);
        let negative = f32x4_lt(x, f32x4_splat(0.0));
        f32x4_mul(x, v128_bitselect(tail, f32x4_sub(one, tail), negative))
    }

    #[inline(always)]
    pub fn value(kind: u32, x: v128) -> v128 {
        match kind {
            0 => v128_andnot(x, f32x4_lt(x, f32x4_splat(0.0))),
            1 => logistic(x, f32x4_neg(x)),
            2 => gelu(x),
            _ => {
                let cube = f32x4_mul(f32x4_mul(f32x4_mul(f32x4_splat(CUBE), x), x), x);
                logistic(x, f32x4_mul(f32x4_splat(TANH), f32x4_add(x, cube)))
            }
        }
    }
}
