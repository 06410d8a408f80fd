//! Small helpers over v128: loads, stores, reductions and table look-up.

use core::arch::wasm32::*;

/// Four f32 from any address.
#[inline(always)]
pub unsafe fn load(p: *const f32) -> v128 {
    v128_load(p as *const v128)
}

/// Four f32 to any address.
#[inline(always)]
pub unsafe fn store(p: *mut f32, v: v128) {
    v128_store(p as *mut v128, v)
}

/// Two f64 from any address.
#[inline(always)]
pub unsafe fn load64(p: *const f64) -> v128 {
    v128_load(p as *const v128)
}

/// Two f64 to any address.
#[inline(always)]
pub unsafe fn store64(p: *mut f64, v: v128) {
    v128_store(p as *mut v128, v)
}

/// Four copies of one f32 in memory.
#[inline(always)]
pub unsafe fn splat(p: *const f32) -> v128 {
    v128_load32_splat(p as *const u32)
}

/// Copies 16 f32. A bulk copy of so few bytes costs more than these loads and stores.
#[inline(always)]
pub unsafe fn copy16(from: *const f32, to: *mut f32) {
    for i in (0..16).step_by(4) {
        store(to.add(i), load(from.add(i)));
    }
}

/// A pointer of which the compiler knows nothing, for the steps of an unrolled loop. Otherwise it
/// gathers their loads, which takes more registers than there are, and rewrites their addresses so
/// that constant offsets are no longer part of the load.
#[inline(always)]
pub fn opaque<T>(mut p: *const T) -> *const T {
    unsafe { core::arch::asm!("/* {0} */", inout(local) p, options(nostack, preserves_flags)) }
    p
}

/// The low and the high half of four f32, as f64.
#[inline(always)]
pub fn promote(v: v128) -> (v128, v128) {
    let high = i64x2_shuffle::<1, 1>(v, v);
    (f64x2_promote_low_f32x4(v), f64x2_promote_low_f32x4(high))
}

/// The four f32 lanes.
#[inline(always)]
pub fn lanes4(v: v128) -> [f32; 4] {
    unsafe { core::mem::transmute(v) }
}

/// The two f64 lanes.
#[inline(always)]
pub fn lanes2(v: v128) -> [f64; 2] {
    unsafe { core::mem::transmute(v) }
}

/// A table of 16 f32 as four byte planes, for look-up by swizzle: 16 codes become 16 values.
#[derive(Clone, Copy)]
pub struct Planes([v128; 4]);

impl Planes {
    /// Planes of the `mask + 1` (at most 16) entries at `table`, repeated up to 16.
    pub unsafe fn new(table: *const f32, mask: usize) -> Self {
        let mut bytes = [[0u8; 16]; 4];
        for i in 0..16 {
            let entry = (*table.add(i & mask)).to_bits().to_le_bytes();
            for (plane, byte) in bytes.iter_mut().zip(entry) {
                plane[i] = byte;
            }
        }
        core::mem::transmute(bytes)
    }

    /// The values of 16 codes below 16, in order.
    #[inline(always)]
    pub fn lookup(&self, codes: v128) -> [v128; 4] {
        let [p0, p1, p2, p3] = self.0;
        let b0 = i8x16_swizzle(p0, codes);
        let b1 = i8x16_swizzle(p1, codes);
        let b2 = i8x16_swizzle(p2, codes);
        let b3 = i8x16_swizzle(p3, codes);
        let low01 = interleave_low8(b0, b1);
        let high01 = interleave_high8(b0, b1);
        let low23 = interleave_low8(b2, b3);
        let high23 = interleave_high8(b2, b3);
        [
            interleave_low16(low01, low23),
            interleave_high16(low01, low23),
            interleave_low16(high01, high23),
            interleave_high16(high01, high23),
        ]
    }
}

#[inline(always)]
fn interleave_low8(a: v128, b: v128) -> v128 {
    i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b)
}

#[inline(always)]
fn interleave_high8(a: v128, b: v128) -> v128 {
    i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b)
}

#[inline(always)]
fn interleave_low16(a: v128, b: v128) -> v128 {
    i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b)
}

#[inline(always)]
fn interleave_high16(a: v128, b: v128) -> v128 {
    i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b)
}

/// Sixteen bytes b as f32 `2^23 + b`: the byte becomes the lowest bits of the significand.
#[inline(always)]
pub fn widen_to_f32_2p23(bytes: v128) -> [v128; 4] {
    let (zero, top) = (u8x16_splat(0), u16x8_splat(0x4b00));
    let low = interleave_low8(bytes, zero);
    let high = interleave_high8(bytes, zero);
    [
        interleave_low16(low, top),
        interleave_high16(low, top),
        interleave_low16(high, top),
        interleave_high16(high, top),
    ]
}

/// Four vectors of 32-bit integers below 256 as sixteen bytes.
#[inline(always)]
pub fn narrow_words(words: [v128; 4]) -> v128 {
    u8x16_narrow_i16x8(
        i16x8_narrow_i32x4(words[0], words[1]),
        i16x8_narrow_i32x4(words[2], words[3]),
    )
}
