//! Fast conversions by name, each over units of a few values. Parallel over units.
//!
//! 0 `f32_to_s8`, 1 `f16_to_s8`: `rint(x * factor)`, ties to even, clamped to -128..127, NaN to 0.
//! 2 `s8_to_f32`: `x * factor`. Signed 4-bit codes, the first of a byte in its low nibble:
//! 3 `s4_to_s8`, 4 `s4_to_s8_times16` (a shift and a mask), 5 `u4_to_u8` without sign. 6
//! `sint4_to_s8_times16`: 16 bytes hold 32 codes, code i in the high nibble of byte i and code
//! 16 + i in the low one, so that a mask gives 16 times a code.

fn clamp(v: f32) -> i8 {
    if v.is_nan() {
        return 0;
    }
    libm::rintf(v).clamp(-128.0, 127.0) as i8
}

unsafe fn one(kind: u32, x: *const u8, y: *mut u8, factor: f32, i: usize) {
    match kind {
        0 => *y.add(i) = clamp(*(x as *const f32).add(i) * factor) as u8,
        1 => {
            let half = (x as *const u16).add(i).read_unaligned();
            *y.add(i) = clamp(crate::widen::half(half) * factor) as u8;
        }
        2 => *(y as *mut f32).add(i) = *(x.add(i) as *const i8) as f32 * factor,
        6 => {
            for j in 0..16 {
                let byte = *x.add(16 * i + j);
                *y.add(32 * i + j) = byte & 0xf0;
                *y.add(32 * i + 16 + j) = byte << 4;
            }
        }
        _ => {
            let byte = *x.add(i);
            let (low, high) = match kind {
                3 => (((byte << 4) as i8 >> 4) as u8, (byte as i8 >> 4) as u8),
                4 => (byte << 4, byte & 0xf0),
                _ => (byte & 15, byte >> 4),
            };
            *y.add(2 * i) = low;
            *y.add(2 * i + 1) = high;
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const u8,
    y: *mut u8,
    kind: u32,
    factor: f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for i in begin..end {
        one(kind, x, y, factor, i);
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::lanes::{load, store};
    use crate::widen::half4;
    use core::arch::wasm32::*;

    /// Four whole numbers within int8.
    #[inline(always)]
    fn round4(v: v128, factor: v128) -> v128 {
        let v = f32x4_nearest(f32x4_mul(v, factor));
        // a NaN becomes 0
        i32x4_trunc_sat_f32x4(v)
    }

    /// Sixteen int8 from four vectors.
    #[inline(always)]
    fn narrow(v: [v128; 4]) -> v128 {
        i8x16_narrow_i16x8(
            i16x8_narrow_i32x4(v[0], v[1]),
            i16x8_narrow_i32x4(v[2], v[3]),
        )
    }

    #[inline(always)]
    fn pairs(kind: u32, bytes: v128) -> (v128, v128) {
        match kind {
            3 => (i8x16_shr(u8x16_shl(bytes, 4), 4), i8x16_shr(bytes, 4)),
            4 => (u8x16_shl(bytes, 4), v128_and(bytes, u8x16_splat(0xf0))),
            _ => (v128_and(bytes, u8x16_splat(15)), u8x16_shr(bytes, 4)),
        }
    }

    /// Sixteen units at a time.
    pub unsafe fn simd(
        x: *const u8,
        y: *mut u8,
        kind: u32,
        factor: f32,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let factors = f32x4_splat(factor);
        let whole = begin + (end - begin) / 16 * 16;
        let out = |i: usize| y.add(i) as *mut v128;
        match kind {
            0 => {
                for i in (begin..whole).step_by(16) {
                    let p = (x as *const f32).add(i);
                    let v: [v128; 4] =
                        core::array::from_fn(|j| round4(load(p.add(4 * j)), factors));
                    v128_store(out(i), narrow(v));
                }
            }
            1 => {
                for i in (begin..whole).step_by(16) {
                    let v: [v128; 4] = core::array::from_fn(|j| {
                        let halves = v128_load64_zero(x.add(2 * i + 8 * j) as *const u64);
                        round4(half4(u32x4_extend_low_u16x8(halves)), factors)
                    });
                    v128_store(out(i), narrow(v));
                }
            }
            2 => {
                for i in (begin..whole).step_by(8) {
                    let v = i16x8_load_extend_i8x8(x.add(i) as *const i8);
                    let low = f32x4_convert_i32x4(i32x4_extend_low_i16x8(v));
                    let high = f32x4_convert_i32x4(i32x4_extend_high_i16x8(v));
                    let y = (y as *mut f32).add(i);
                    store(y, f32x4_mul(low, factors));
                    store(y.add(4), f32x4_mul(high, factors));
                }
            }
            6 => {
                for i in begin..end {
                    let bytes = v128_load(x.add(16 * i) as *const v128);
                    v128_store(out(32 * i), v128_and(bytes, u8x16_splat(0xf0)));
                    v128_store(out(32 * i + 16), u8x16_shl(bytes, 4));
                }
                return;
            }
            _ => {
                for i in (begin..whole).step_by(16) {
                    let (low, high) = pairs(kind, v128_load(x.add(i) as *const v128));
                    v128_store(
                        out(2 * i),
                        i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(
                            low, high,
                        ),
                    );
                    v128_store(
                        out(2 * i + 16),
                        i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(
                            low, high,
                        ),
                    );
                }
            }
        }
        scalar(x, y, kind, factor, scratch, whole, end);
    }
}
