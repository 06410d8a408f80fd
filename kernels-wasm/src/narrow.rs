//! f32 to float16 or bfloat16 bits, to nearest, ties to even. NaNs stay NaNs: they keep their sign
//! and the top of their payload, and become quiet. Parallel over elements.

/// One value to bfloat16.
pub fn brain(v: f32) -> u16 {
    let bits = v.to_bits();
    if v.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// One value to float16.
pub fn half(v: f32) -> u16 {
    let bits = v.to_bits();
    let (sign, magnitude) = ((bits >> 16) as u16 & 0x8000, bits & 0x7fff_ffff);
    sign | if magnitude > 0x7f80_0000 {
        0x7e00 | (magnitude >> 13) as u16 & 0x3ff
    } else if magnitude >= 0x4780_0000 {
        0x7c00 // 65536 and more
    } else if magnitude < 0x3880_0000 {
        // subnormal: adding 0.5 leaves the rounded result in the lowest bits
        ((f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000) as u16
    } else {
        ((magnitude - 0x3800_0000 + 0xfff + (magnitude >> 13 & 1)) >> 13) as u16
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    bytes: *mut u16,
    to_brain: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for i in begin..end {
        *bytes.add(i) = if to_brain != 0 {
            brain(*x.add(i))
        } else {
            half(*x.add(i))
        };
    }
}

/// Eight elements at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    bytes: *mut u16,
    to_brain: u32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::load;
    use core::arch::wasm32::*;
    let convert = if to_brain != 0 {
        wide::brain4
    } else {
        wide::half4
    };
    let whole = begin + (end - begin) / 8 * 8;
    for i in (begin..whole).step_by(8) {
        let words = u16x8_narrow_i32x4(convert(load(x.add(i))), convert(load(x.add(i + 4))));
        v128_store(bytes.add(i) as *mut v128, words);
    }
    scalar(x, bytes, to_brain, scratch, whole, end);
}

#[cfg(target_arch = "wasm32")]
mod wide {
    use core::arch::wasm32::*;

    pub fn brain4(v: v128) -> v128 {
        let top = u32x4_shr(v, 16);
        let odd = v128_and(top, u32x4_splat(1));
        let rounded = u32x4_shr(i32x4_add(v, i32x4_add(odd, u32x4_splat(0x7fff))), 16);
        v128_bitselect(rounded, v128_or(top, u32x4_splat(0x40)), f32x4_eq(v, v))
    }

    pub fn half4(v: v128) -> v128 {
        let sign = v128_and(u32x4_shr(v, 16), u32x4_splat(0x8000));
        let magnitude = v128_and(v, u32x4_splat(0x7fff_ffff));
        let odd = v128_and(u32x4_shr(magnitude, 13), u32x4_splat(1));
        let rounding = i32x4_add(odd, u32x4_splat(0xfff_u32.wrapping_sub(0x3800_0000)));
        let normal = u32x4_shr(i32x4_add(magnitude, rounding), 13);
        let small = i32x4_sub(
            f32x4_add(magnitude, f32x4_splat(0.5)),
            u32x4_splat(0x3f00_0000),
        );
        let payload = v128_and(u32x4_shr(magnitude, 13), u32x4_splat(0x3ff));
        let nan = v128_or(payload, u32x4_splat(0x7e00));
        let mut result =
            v128_bitselect(small, normal, i32x4_lt(magnitude, u32x4_splat(0x3880_0000)));
        result = v128_bitselect(
            u32x4_splat(0x7c00),
            result,
            i32x4_ge(magnitude, u32x4_splat(0x4780_0000)),
        );
        result = v128_bitselect(result, nan, f32x4_eq(v, v));
        v128_or(sign, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives() {
        for bits in 0..=u16::MAX {
            let v = crate::widen::half(bits);
            if !v.is_nan() {
                assert_eq!(half(v), bits);
            }
        }
    }

    #[test]
    fn ties_go_to_even() {
        assert_eq!(half(65519.996), 0x7bff);
        assert_eq!(half(65520.0), 0x7c00);
        assert_eq!(half(2f32.powi(-25)), 0);
        assert_eq!(half(2f32.powi(-25) * 1.0001), 1);
        assert_eq!(brain(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(brain(f32::from_bits(0x3f81_8000)), 0x3f82);
    }
}
