//! How codes and activations are multiplied, with and without relaxed SIMD.

use core::arch::wasm32::*;

/// How four columns of four rows are multiplied: a code vector becomes `PARTS` vectors, and as
/// many splats of 32 bits of activations belong to it.
pub trait Products {
    const PARTS: usize;
    /// Blocks whose products fit an accumulator.
    fn blocks(bits: u32) -> usize;
    fn parts(codes: v128) -> [v128; 2];
    fn add(sum: v128, part: v128, x: v128) -> v128;
    /// Adds an accumulator to four 32-bit sums, one a row.
    fn close(total: v128, sum: v128) -> v128;
}

/// 16-bit codes and activations; sums of pairs are 32 bits wide.
#[cfg(not(target_feature = "relaxed-simd"))]
pub struct Words;

#[cfg(not(target_feature = "relaxed-simd"))]
impl Products for Words {
    const PARTS: usize = 2;
    fn blocks(_bits: u32) -> usize {
        usize::MAX
    }
    #[inline(always)]
    fn parts(codes: v128) -> [v128; 2] {
        let (a, b) = (
            u16x8_extend_low_u8x16(codes),
            u16x8_extend_high_u8x16(codes),
        );
        [
            i32x4_shuffle::<0, 2, 4, 6>(a, b),
            i32x4_shuffle::<1, 3, 5, 7>(a, b),
        ]
    }
    #[inline(always)]
    fn add(sum: v128, part: v128, x: v128) -> v128 {
        i32x4_add(sum, i32x4_dot_i16x8(part, x))
    }
    #[inline(always)]
    fn close(total: v128, sum: v128) -> v128 {
        i32x4_add(total, sum)
    }
}

/// Bytes: codes below 64 are the 7-bit operand. Sums of pairs stay in 16 bits for as many
/// columns as cannot overflow: `4 columns * 2 * 127 * largest code <= 32767`. Products of 7-bit
/// operands have one result on every machine.
#[cfg(target_feature = "relaxed-simd")]
pub struct Bytes;

#[cfg(target_feature = "relaxed-simd")]
impl Products for Bytes {
    const PARTS: usize = 1;
    fn blocks(bits: u32) -> usize {
        match bits {
            6 => 1,
            5 => 2,
            _ => 4,
        }
    }
    #[inline(always)]
    fn parts(codes: v128) -> [v128; 2] {
        [codes, codes]
    }
    #[inline(always)]
    fn add(sum: v128, part: v128, x: v128) -> v128 {
        i16x8_add(sum, i16x8_relaxed_dot_i8x16_i7x16(x, part))
    }
    #[inline(always)]
    fn close(total: v128, sum: v128) -> v128 {
        i32x4_add(total, i32x4_extadd_pairwise_i16x8(sum))
    }
}
