//! The exponential function from IEEE basic operations only, so that it gives the same bits on
//! every machine: `x = n ln 2 + r`, a Taylor polynomial in r, and a scale by `2^n` in two steps.

/// 1 / k!, from k = 7 down to 0: the rest is below 2^-27 for |r| <= ln(2) / 2.
const TAYLOR32: [f32; 8] = [
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];
/// ln 2 in two parts; products of the first with whole numbers below 2^13 are exact.
const LN2_32: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// Beyond these the result is 0 or infinity.
const LIMITS32: (f32, f32) = (-110.0, 100.0);

/// 1 / k!, from k = 13 down to 0: the rest is below 2^-58.
const TAYLOR64: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];
const LN2_64: (f64, f64) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);
const LIMITS64: (f64, f64) = (-760.0, 720.0);

/// `e^x` in f32, within 2 units in the last place.
#[inline(always)]
pub fn exp32(x: f32) -> f32 {
    let x = if x < LIMITS32.0 {
        LIMITS32.0
    } else if x > LIMITS32.1 {
        LIMITS32.1
    } else {
        x
    };
    let n = libm::rintf(x * core::f32::consts::LOG2_E);
    let r = (x - n * LN2_32.0) - n * LN2_32.1;
    let p = TAYLOR32[1..].iter().fold(TAYLOR32[0], |p, c| p * r + c);
    let n = n as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    p * power(half) * power(n - half)
}

/// `e^x` in f64, within 2 units in the last place.
#[inline(always)]
pub fn exp64(x: f64) -> f64 {
    let x = if x < LIMITS64.0 {
        LIMITS64.0
    } else if x > LIMITS64.1 {
        LIMITS64.1
    } else {
        x
    };
    let n = libm::rint(x * core::f64::consts::LOG2_E);
    let r = (x - n * LN2_64.0) - n * LN2_64.1;
    let p = TAYLOR64[1..].iter().fold(TAYLOR64[0], |p, c| p * r + c);
    let n = n as i64;
    let half = n >> 1;
    let power = |n: i64| f64::from_bits(((n + 1023) as u64) << 52);
    p * power(half) * power(n - half)
}

#[cfg(target_arch = "wasm32")]
pub use wide::{exp32x4, exp64x2};

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use core::arch::wasm32::*;

    /// Four `exp32`.
    #[inline(always)]
    pub fn exp32x4(x: v128) -> v128 {
        let x = f32x4_min(
            f32x4_max(x, f32x4_splat(LIMITS32.0)),
            f32x4_splat(LIMITS32.1),
        );
        let n = f32x4_nearest(f32x4_mul(x, f32x4_splat(core::f32::consts::LOG2_E)));
        let r = f32x4_sub(x, f32x4_mul(n, f32x4_splat(LN2_32.0)));
        let r = f32x4_sub(r, f32x4_mul(n, f32x4_splat(LN2_32.1)));
        let p = TAYLOR32[1..].iter().fold(f32x4_splat(TAYLOR32[0]), |p, c| {
            f32x4_add(f32x4_mul(p, r), f32x4_splat(*c))
        });
        let n = i32x4_trunc_sat_f32x4(n);
        let half = i32x4_shr(n, 1);
        let power = |n| i32x4_shl(i32x4_add(n, i32x4_splat(127)), 23);
        f32x4_mul(f32x4_mul(p, power(half)), power(i32x4_sub(n, half)))
    }

    /// Two `exp64`.
    #[inline(always)]
    pub fn exp64x2(x: v128) -> v128 {
        let x = f64x2_min(
            f64x2_max(x, f64x2_splat(LIMITS64.0)),
            f64x2_splat(LIMITS64.1),
        );
        let n = f64x2_nearest(f64x2_mul(x, f64x2_splat(core::f64::consts::LOG2_E)));
        let r = f64x2_sub(x, f64x2_mul(n, f64x2_splat(LN2_64.0)));
        let r = f64x2_sub(r, f64x2_mul(n, f64x2_splat(LN2_64.1)));
        let p = TAYLOR64[1..].iter().fold(f64x2_splat(TAYLOR64[0]), |p, c| {
            f64x2_add(f64x2_mul(p, r), f64x2_splat(*c))
        });
        let n = i64x2_extend_low_i32x4(i32x4_trunc_sat_f64x2_zero(n));
        let half = i64x2_shr(n, 1);
        let power = |n| i64x2_shl(i64x2_add(n, i64x2_splat(1023)), 52);
        f64x2_mul(f64x2_mul(p, power(half)), power(i64x2_sub(n, half)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_libm() {
        for i in -8700..=8800 {
            let x = i as f32 * 0.01;
            let exact = libm::exp(x as f64);
            assert!((exp32(x) as f64 / exact - 1.0).abs() < 2.5e-7, "exp32({x})");
            assert!((exp64(x as f64) / exact - 1.0).abs() < 5e-16, "exp64({x})");
        }
        assert_eq!(exp32(-200.0), 0.0);
        assert_eq!(exp32(200.0), f32::INFINITY);
        assert_eq!(exp64(f64::NEG_INFINITY), 0.0);
        assert!(exp32(f32::NAN).is_nan());
    }
}
