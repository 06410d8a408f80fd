//! Powers of numbers that came from f32, from IEEE basic operations only: `e^(p ln x)`.
//!
//! `ln x = n ln 2 + 2 atanh(s)`, with `x = 2^n m`, m between sqrt(1/2) and sqrt(2), and
//! `s = (m - 1) / (m + 1)`. Relative error about 1e-15 times the size of the exponent of the result.

use crate::exp::exp64;

/// Coefficients of `atanh(s) / s` in `s^2`, from the ninth down: 1 / (2 k + 1).
const ATANH: [f64; 10] = [
    1.0 / 19.0,
    1.0 / 17.0,
    1.0 / 15.0,
    1.0 / 13.0,
    1.0 / 11.0,
    1.0 / 9.0,
    1.0 / 7.0,
    1.0 / 5.0,
    1.0 / 3.0,
    1.0,
];
const LN2: (f64, f64) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);
/// Bits of sqrt(1/2): subtracting them makes the exponent of the bits the wanted n.
const ROOT_HALF: i64 = 0x3fe6_a09e_667f_3bcd;
const MANTISSA: i64 = 0x000f_ffff_ffff_ffff;

/// The natural logarithm of a normal positive number.
#[inline(always)]
pub fn ln64(x: f64) -> f64 {
    let offset = (x.to_bits() as i64).wrapping_sub(ROOT_HALF);
    let n = (offset >> 52) as f64;
    let m = f64::from_bits((offset & MANTISSA).wrapping_add(ROOT_HALF) as u64);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = ATANH[1..].iter().fold(ATANH[0], |sum, c| sum * square + c);
    n * LN2.0 + (n * LN2.1 + (s + s) * series)
}

/// `x^p` for `x >= 0`: 1 if p is 0; otherwise 0 and infinity map to 0 or infinity, NaN to NaN.
#[inline(always)]
pub fn pow64(x: f64, p: f64) -> f64 {
    if p == 0.0 {
        1.0
    } else if x > 0.0 && x < f64::INFINITY {
        exp64(p * ln64(x))
    } else if x == 0.0 || x == f64::INFINITY {
        if (x == 0.0) == (p > 0.0) {
            0.0
        } else {
            f64::INFINITY
        }
    } else {
        f64::NAN
    }
}

/// Two `pow64`.
#[cfg(target_arch = "wasm32")]
#[inline(always)]
pub fn pow64x2(x: core::arch::wasm32::v128, p: f64) -> core::arch::wasm32::v128 {
    use crate::exp::exp64x2;
    use crate::lanes::lanes2;
    use core::arch::wasm32::*;
    let positive = f64x2_gt(x, f64x2_splat(0.0));
    let ordinary = v128_and(positive, f64x2_lt(x, f64x2_splat(f64::INFINITY)));
    if p == 0.0 || !i64x2_all_true(ordinary) {
        let [a, b] = lanes2(x);
        return f64x2(pow64(a, p), pow64(b, p));
    }
    let offset = i64x2_sub(x, i64x2_splat(ROOT_HALF));
    // exponents fit 32 bits: convert the high halves
    let high = i32x4_shr(i32x4_shuffle::<1, 3, 1, 3>(offset, offset), 20);
    let n = f64x2_convert_low_i32x4(high);
    let m = i64x2_add(
        v128_and(offset, i64x2_splat(MANTISSA)),
        i64x2_splat(ROOT_HALF),
    );
    let one = f64x2_splat(1.0);
    let s = f64x2_div(f64x2_sub(m, one), f64x2_add(m, one));
    let square = f64x2_mul(s, s);
    let series = ATANH[1..].iter().fold(f64x2_splat(ATANH[0]), |sum, c| {
        f64x2_add(f64x2_mul(sum, square), f64x2_splat(*c))
    });
    let low = f64x2_add(
        f64x2_mul(n, f64x2_splat(LN2.1)),
        f64x2_mul(f64x2_add(s, s), series),
    );
    let ln = f64x2_add(f64x2_mul(n, f64x2_splat(LN2.0)), low);
    exp64x2(f64x2_mul(f64x2_splat(p), ln))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_libm() {
        for i in 1..20000 {
            let x = (i as f32 * 0.37).powi(if i % 2 == 0 { 3 } else { -4 }) as f64;
            let ln = libm::log(x);
            assert!((ln64(x) - ln).abs() <= 4e-16 * ln.abs().max(0.5), "ln {x}");
            for p in [0.5, 1.0, 2.4, -0.7] {
                let exact = libm::pow(x, p);
                assert!((pow64(x, p) / exact - 1.0).abs() < 2e-14, "{x}^{p}");
            }
        }
        assert_eq!(pow64(0.0, 0.5), 0.0);
        assert_eq!(pow64(0.0, 0.0), 1.0);
        assert_eq!(pow64(f64::INFINITY, -1.0), 0.0);
        assert!(pow64(f64::NAN, 2.0).is_nan());
        assert_eq!(pow64(1.0, 7.3), 1.0);
    }
}
