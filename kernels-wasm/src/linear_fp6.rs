//! `y = x W^T` with 6-bit floats cut in two streams: the upper four bits of a code (two a byte) and
//! the lower two (four a byte), the first code in the lowest bits of a byte, rows in whole bytes.
//!
//! A code is a whole multiple of a unit (2^-4 for e3m2, 2^-3 for e2m3). Products of activations with
//! these whole numbers are added in 16 partial sums (columns modulo 16, ascending), those in a tree
//! (`s[i] + s[i + 4]`, `s[i + 8] + s[i + 12]`, their sum, then `(0 + 1) + (2 + 3)`), times the row's
//! scale times the unit. Parallel over rows.

/// Whole multiple of the unit of a code of 6 bits; `mantissa` is 2 or 3 bits.
pub fn multiple(code: u8, mantissa: u32) -> i32 {
    let (exponent, fraction) = (
        (code & 31) >> mantissa,
        (code & ((1 << mantissa) - 1)) as i32,
    );
    let magnitude = if exponent == 0 {
        fraction
    } else {
        (fraction | 1 << mantissa) << (exponent - 1)
    };
    if code & 32 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// The unit that codes are multiples of.
fn unit(mantissa: u32) -> f32 {
    if mantissa == 2 {
        0.0625
    } else {
        0.125
    }
}

unsafe fn decode(
    high: *const u8,
    low: *const u8,
    from: usize,
    to: usize,
    mantissa: u32,
    w: *mut f32,
) {
    for c in from..to {
        let upper = *high.add(c / 2) >> (4 * (c % 2)) & 15;
        let lower = *low.add(c / 4) >> (2 * (c % 4)) & 3;
        *w.add(c) = multiple(upper << 2 | lower, mantissa) as f32;
    }
}

unsafe fn products(x: *const f32, w: *const f32, from: usize, n: usize, mut s: [f32; 16]) -> f32 {
    for c in from..n {
        s[c % 16] += *x.add(c) * *w.add(c);
    }
    let four: [f32; 4] = core::array::from_fn(|i| (s[i] + s[i + 4]) + (s[i + 8] + s[i + 12]));
    (four[0] + four[1]) + (four[2] + four[3])
}

/// The definition. Scratch: a row of w.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    high: *const u8,
    low: *const u8,
    mantissa: u32,
    scales: *const f32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let w = scratch as *mut f32;
    for r in begin..end {
        let (high, low) = (
            high.add(r * columns.div_ceil(2)),
            low.add(r * columns.div_ceil(4)),
        );
        decode(high, low, 0, columns, mantissa, w);
        for t in 0..tokens {
            let sum = products(x.add(t * columns), w, 0, columns, [0.0; 16]);
            *y.add(t * rows + r) = sum * (*scales.add(r) * unit(mantissa));
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::lanes::{load, store};
    use core::arch::wasm32::*;

    /// Magnitudes of the 32 codes without a sign, as byte planes: low bytes, then high ones.
    struct Magnitudes {
        low: [v128; 2],
        high: [v128; 2],
    }

    impl Magnitudes {
        unsafe fn new(mantissa: u32) -> Self {
            let mut bytes = [[0u8; 32]; 2];
            for code in 0..32 {
                let [low, high, ..] = multiple(code as u8, mantissa).to_le_bytes();
                bytes[0][code] = low;
                bytes[1][code] = high;
            }
            Self {
                low: core::mem::transmute(bytes[0]),
                high: core::mem::transmute(bytes[1]),
            }
        }

        /// Sixteen magnitudes as two vectors of 16-bit integers.
        #[inline(always)]
        fn lookup(&self, codes: v128) -> [v128; 2] {
            let upper = i8x16_sub(codes, i8x16_splat(16));
            let find =
                |t: &[v128; 2]| v128_or(i8x16_swizzle(t[0], codes), i8x16_swizzle(t[1], upper));
            let (low, high) = (find(&self.low), find(&self.high));
            [interleave_low(low, high), interleave_high(low, high)]
        }
    }

    #[inline(always)]
    fn interleave_low(a: v128, b: v128) -> v128 {
        i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b)
    }

    #[inline(always)]
    fn interleave_high(a: v128, b: v128) -> v128 {
        i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b)
    }

    /// Sixteen codes from 8 and 4 bytes.
    #[inline(always)]
    unsafe fn codes16(high: *const u8, low: *const u8) -> v128 {
        let pairs = v128_load64_zero(high as *const u64);
        let upper = interleave_low(v128_and(pairs, u8x16_splat(15)), u8x16_shr(pairs, 4));
        let quads = v128_load32_zero(low as *const u32);
        let three = u8x16_splat(3);
        let even = interleave_low(quads, u8x16_shr(quads, 4));
        let lower = interleave_low(v128_and(even, three), v128_and(u8x16_shr(even, 2), three));
        v128_or(u8x16_shl(upper, 2), lower)
    }

    /// Sixteen whole multiples.
    #[inline(always)]
    fn decode16(m: &Magnitudes, codes: v128) -> [v128; 4] {
        let magnitudes = m.lookup(v128_and(codes, u8x16_splat(31)));
        let (zero, top) = (u8x16_splat(0), u8x16_shl(codes, 2));
        let signs = [interleave_low(zero, top), interleave_high(zero, top)];
        let signed = |h: usize| {
            let sign = i16x8_shr(signs[h], 15);
            i16x8_sub(v128_xor(magnitudes[h], sign), sign)
        };
        let (low, high) = (signed(0), signed(1));
        [
            f32x4_convert_i32x4(i32x4_extend_low_i16x8(low)),
            f32x4_convert_i32x4(i32x4_extend_high_i16x8(low)),
            f32x4_convert_i32x4(i32x4_extend_low_i16x8(high)),
            f32x4_convert_i32x4(i32x4_extend_high_i16x8(high)),
        ]
    }

    /// Adds sixteen products to their sums.
    #[inline(always)]
    unsafe fn multiply(sums: &mut [v128; 4], x: *const f32, w: [v128; 4]) {
        for (v, w) in w.into_iter().enumerate() {
            sums[v] = f32x4_add(sums[v], f32x4_mul(load(x.add(4 * v)), w));
        }
    }

    /// Sixteen columns at a time.
    pub unsafe fn simd(
        x: *const f32,
        y: *mut f32,
        tokens: usize,
        rows: usize,
        columns: usize,
        high: *const u8,
        low: *const u8,
        mantissa: u32,
        scales: *const f32,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let w = scratch as *mut f32;
        let m = Magnitudes::new(mantissa);
        let whole = columns / 16 * 16;
        for r in begin..end {
            let (high, low) = (
                high.add(r * columns.div_ceil(2)),
                low.add(r * columns.div_ceil(4)),
            );
            decode(high, low, whole, columns, mantissa, w);
            for t in 0..tokens {
                let x = x.add(t * columns);
                let mut sums = [f32x4_splat(0.0); 4];
                for c in (0..whole).step_by(16) {
                    // decoded for the first token, and kept if there are more
                    let values: [v128; 4] = if t == 0 {
                        decode16(&m, codes16(high.add(c / 2), low.add(c / 4)))
                    } else {
                        core::array::from_fn(|v| load(w.add(c + 4 * v)))
                    };
                    if t == 0 && tokens > 1 {
                        for (v, value) in values.into_iter().enumerate() {
                            store(w.add(c + 4 * v), value);
                        }
                    }
                    multiply(&mut sums, x.add(c), values);
                }
                let sums: [f32; 16] = core::mem::transmute(sums);
                let sum = products(x, w, whole, columns, sums);
                *y.add(t * rows + r) = sum * (*scales.add(r) * unit(mantissa));
            }
        }
    }
}
