//! float16 or bfloat16 bits to f32, exactly. Parallel over elements.

/// One float16.
pub fn half(h: u16) -> f32 {
    let sign = (h as u32 & 0x8000) << 16;
    let (exponent, mantissa) = (h as u32 >> 10 & 31, h as u32 & 0x3ff);
    let magnitude = match exponent {
        0 => (mantissa as f32 * f32::from_bits(0x3380_0000)).to_bits(), // 2^-24
        31 => 0x7f80_0000 | mantissa << 13,
        _ => (exponent + 112) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The definition.
pub unsafe fn scalar(
    bytes: *const u16,
    y: *mut f32,
    from_brain: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for i in begin..end {
        let word = *bytes.add(i);
        // bits are stored, not floats, so that NaNs pass unchanged
        let v = if from_brain != 0 {
            (word as u32) << 16
        } else {
            half(word).to_bits()
        };
        *(y.add(i) as *mut u32) = v;
    }
}

/// Four elements at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    bytes: *const u16,
    y: *mut f32,
    from_brain: u32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use core::arch::wasm32::*;
    let convert = if from_brain != 0 {
        |v| u32x4_shl(v, 16)
    } else {
        half4
    };
    let whole = begin + (end - begin) / 4 * 4;
    for i in (begin..whole).step_by(4) {
        let words = u32x4_load_extend_u16x4(bytes.add(i));
        v128_store(y.add(i) as *mut v128, convert(words));
    }
    scalar(bytes, y, from_brain, scratch, whole, end);
}

/// Four float16 in 32-bit lanes.
#[cfg(target_arch = "wasm32")]
pub fn half4(h: core::arch::wasm32::v128) -> core::arch::wasm32::v128 {
    use core::arch::wasm32::*;
    let sign = u32x4_shl(v128_and(h, u32x4_splat(0x8000)), 16);
    let shifted = u32x4_shl(v128_and(h, u32x4_splat(0x7fff)), 13);
    let normal = i32x4_add(shifted, u32x4_splat(112 << 23));
    let special = v128_or(shifted, u32x4_splat(0x7f80_0000));
    let mantissa = f32x4_convert_i32x4(v128_and(h, u32x4_splat(0x3ff)));
    let small = f32x4_mul(mantissa, f32x4_splat(f32::from_bits(0x3380_0000)));
    let exponent = v128_and(h, u32x4_splat(0x7c00));
    let result = v128_bitselect(special, normal, i32x4_eq(exponent, u32x4_splat(0x7c00)));
    v128_or(
        sign,
        v128_bitselect(small, result, i32x4_eq(exponent, u32x4_splat(0))),
    )
}
