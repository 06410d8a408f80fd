//! How codes are unpacked and multiplied by activations, with and without relaxed SIMD.

use crate::codes::codes_of_group;
use crate::integer_layout::PANEL;
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

/// Bytes: integers below 64 are the 7-bit operand. Sums of pairs stay in 16 bits for as many
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

/// Integers below 128: sums of four products are added to 32 bits at once. Two products of 7 and 8
/// bits are at most `2 * 127 * 127 < 32768`, so that there is one result on every machine.
#[cfg(target_feature = "relaxed-simd")]
pub struct Sevens;

#[cfg(target_feature = "relaxed-simd")]
impl Products for Sevens {
    const PARTS: usize = 1;
    fn blocks(_bits: u32) -> usize {
        usize::MAX
    }
    #[inline(always)]
    fn parts(codes: v128) -> [v128; 2] {
        [codes, codes]
    }
    #[inline(always)]
    fn add(sum: v128, part: v128, x: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(x, part, sum)
    }
    #[inline(always)]
    fn close(total: v128, sum: v128) -> v128 {
        i32x4_add(total, sum)
    }
}

/// The integers of a block: codes, or what a table has for them.
#[inline(always)]
pub unsafe fn integers<const BITS: u32, const TABLE: bool>(
    codes: *const u8,
    table: *const u8,
) -> [v128; 8] {
    let codes = codes_of_group::<BITS>(codes);
    if !TABLE {
        return codes;
    }
    let table = v128_load(table as *const v128);
    codes.map(|codes| i8x16_swizzle(table, codes))
}

/// Unpacks some blocks of a panel.
pub type Unpack = unsafe fn(codes: *const u8, table: *const u8, blocks: usize, out: *mut v128);

/// For each block, each four columns and each part: the vectors of the 16 rows.
pub unsafe fn unpack<P: Products, const BITS: u32, const TABLE: bool>(
    codes: *const u8,
    table: *const u8,
    blocks: usize,
    out: *mut v128,
) {
    for b in 0..blocks {
        let vectors = integers::<BITS, TABLE>(codes.add(b * PANEL * BITS as usize), table);
        let out = out.add(b * 8 * P::PARTS);
        for k in 0..2 {
            for i in 0..4 {
                let split = P::parts(vectors[4 * k + i]);
                for p in 0..P::PARTS {
                    v128_store(out.add((k * P::PARTS + p) * 4 + i), split[p]);
                }
            }
        }
    }
}
