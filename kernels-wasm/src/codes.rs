//! Packed codes of a panel, read 128 at a time: eight vectors of 16 codes from `bits` vectors of
//! bytes. A code is cut into parts of 4, 2 and 1 bits, from its low end (8 bits are one part); the
//! byte vectors of a part of w bits hold `8 / w` code vectors each, the first in the lowest bits.

/// The parts of a code: widths from its low end.
pub const fn parts(bits: u32) -> [u32; 3] {
    match bits {
        8 => [8, 0, 0],
        _ => [bits & 4, bits & 2, bits & 1],
    }
}

/// Adds a code to a zeroed group: lane `lane` of code vector `vector`.
pub unsafe fn place(group: *mut u8, vector: usize, lane: usize, code: u8, bits: u32) {
    let (mut low, mut first) = (0, 0);
    for width in parts(bits) {
        if width > 0 {
            let per_byte = 8 / width as usize;
            let part = (code as u32 >> low) & ((1 << width) - 1);
            let byte = group.add((first + vector / per_byte) * 16 + lane);
            *byte |= (part << (width as usize * (vector % per_byte))) as u8;
            low += width;
            first += width as usize;
        }
    }
}

/// The code in lane `lane` of code vector `vector` of a group.
pub unsafe fn code_at(group: *const u8, vector: usize, lane: usize, bits: u32) -> u32 {
    let (mut code, mut low, mut first) = (0, 0, 0);
    for width in parts(bits) {
        if width > 0 {
            let per_byte = 8 / width as usize;
            let byte = *group.add((first + vector / per_byte) * 16 + lane) as u32;
            let part = byte >> (width as usize * (vector % per_byte)) & ((1 << width) - 1);
            code |= part << low;
            low += width;
            first += width as usize;
        }
    }
    code
}

#[cfg(target_arch = "wasm32")]
pub use wide::codes_of_group;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::parts;
    use core::arch::wasm32::*;

    /// The eight code vectors of a group.
    #[inline(always)]
    pub unsafe fn codes_of_group<const BITS: u32>(group: *const u8) -> [v128; 8] {
        if BITS == 8 {
            return core::array::from_fn(|k| v128_load(group.add(16 * k) as *const v128));
        }
        let mut codes = [u8x16_splat(0); 8];
        let [four, two, one] = parts(BITS);
        if four > 0 {
            add_part(&mut codes, group, 4, 0);
        }
        if two > 0 {
            add_part(&mut codes, group, 2, four);
        }
        if one > 0 {
            add_part(&mut codes, group, 1, four + two);
        }
        codes
    }

    /// Adds the part of `width` bits that starts at bit `low`; all arguments are constants.
    #[inline(always)]
    unsafe fn add_part(codes: &mut [v128; 8], group: *const u8, width: u32, low: u32) {
        let per_byte = 8 / width as usize;
        for (k, codes) in codes.iter_mut().enumerate() {
            let vector = v128_load(group.add((low as usize + k / per_byte) * 16) as *const v128);
            let shift = width * (k % per_byte) as u32;
            let mask = u8x16_splat(((1u32 << width) - 1) as u8);
            // 16-bit shifts are single instructions; the mask removes the neighbour's bits
            let part = v128_and(u16x8_shr(vector, shift), mask);
            *codes = v128_or(*codes, u16x8_shl(part, low));
        }
    }
}
