//! Bytes to codes. Parallel over units (rows or blocks).

/// The code at position `i` of a stream.
unsafe fn code_at(bytes: *const u8, i: usize, bits: u32) -> u32 {
    let (at, shift) = (i * bits as usize / 8, i * bits as usize % 8);
    let low = *bytes.add(at) as u32;
    let high = if shift + bits as usize > 8 {
        *bytes.add(at + 1) as u32
    } else {
        0
    };
    (low | high << 8) >> shift
}

unsafe fn scalar_stream(
    codes: *mut u8,
    from: usize,
    n: usize,
    bytes: *const u8,
    bits: u32,
    offset: u32,
) {
    let mask = (1u32 << bits) - 1;
    for i in from..n {
        *codes.add(i) = (code_at(bytes, i, bits).wrapping_sub(offset) & mask) as u8;
    }
}

unsafe fn scalar_halves(codes: *mut u8, from: usize, n: usize, bytes: *const u8, offset: u32) {
    let half = n / 2;
    for j in from..half {
        let byte = *bytes.add(j) as u32;
        *codes.add(j) = (byte.wrapping_sub(offset) & 15) as u8;
        *codes.add(j + half) = ((byte >> 4).wrapping_sub(offset) & 15) as u8;
    }
}

/// A mask of every other field: `width` codes of `bits` bits, fields `width` bytes apart.
pub const fn even_fields(bits: u32, width: u32) -> u64 {
    let field = (1u64 << (width * bits)) - 1;
    match width {
        1 => field * 0x0001_0001_0001_0001,
        2 => field * 0x0000_0001_0000_0001,
        _ => field,
    }
}

/// The definition.
pub unsafe fn scalar(
    codes: *mut u8,
    bytes: *const u8,
    bits: u32,
    unit_length: usize,
    stride: usize,
    start: usize,
    halves: u32,
    offset: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for unit in begin..end {
        let codes = codes.add(unit * unit_length);
        let bytes = bytes.add(unit * stride + start);
        if halves != 0 {
            scalar_halves(codes, 0, unit_length, bytes, offset);
        } else {
            scalar_stream(codes, 0, unit_length, bytes, bits, offset);
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use core::arch::wasm32::*;

    /// Parts fields of twice `width` codes into two of `width` codes, `width` bytes apart.
    #[inline(always)]
    fn part<const BITS: u32>(v: v128, width: u32) -> v128 {
        let low = u64x2_splat(super::even_fields(BITS, width));
        let high = v128_and(u64x2_shl(v, width * (8 - BITS)), u64x2_shl(low, width * 8));
        v128_or(v128_and(v, low), high)
    }

    /// Sixteen codes at a time, spread inside two 64-bit lanes.
    unsafe fn stream<const BITS: u32>(codes: *mut u8, n: usize, bytes: *const u8, offset: u32) {
        let bytes_of_8 = BITS as usize;
        let total = (n * bytes_of_8).div_ceil(8);
        let offsets = u8x16_splat(offset as u8);
        let mask = u8x16_splat(((1u32 << BITS) - 1) as u8);
        let (mut i, mut at) = (0, 0);
        while i + 16 <= n && at + bytes_of_8 + 8 <= total {
            let first = (bytes.add(at) as *const u64).read_unaligned();
            let second = (bytes.add(at + bytes_of_8) as *const u64).read_unaligned();
            let v = u64x2(first, second);
            let v = part::<BITS>(part::<BITS>(part::<BITS>(v, 4), 2), 1);
            let v = v128_and(u8x16_sub(v, offsets), mask);
            v128_store(codes.add(i) as *mut v128, v);
            i += 16;
            at += 2 * bytes_of_8;
        }
        scalar_stream(codes, i, n, bytes, BITS, offset);
    }

    unsafe fn halves16(codes: *mut u8, n: usize, bytes: *const u8, offset: u32) {
        let half = n / 2;
        let whole = half / 16 * 16;
        let offsets = u8x16_splat(offset as u8);
        for j in (0..whole).step_by(16) {
            let v = v128_load(bytes.add(j) as *const v128);
            let low = v128_and(u8x16_sub(v, offsets), u8x16_splat(15));
            let high = v128_and(u8x16_sub(u8x16_shr(v, 4), offsets), u8x16_splat(15));
            v128_store(codes.add(j) as *mut v128, low);
            v128_store(codes.add(j + half) as *mut v128, high);
        }
        scalar_halves(codes, whole, n, bytes, offset);
    }

    /// Sixteen codes at a time.
    pub unsafe fn simd(
        codes: *mut u8,
        bytes: *const u8,
        bits: u32,
        unit_length: usize,
        stride: usize,
        start: usize,
        halves: u32,
        offset: u32,
        _scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let unpack_one = match (halves, bits) {
            (1.., _) => halves16,
            (_, 1) => stream::<1>,
            (_, 2) => stream::<2>,
            (_, 3) => stream::<3>,
            (_, 4) => stream::<4>,
            (_, 5) => stream::<5>,
            (_, 6) => stream::<6>,
            (_, 7) => stream::<7>,
            _ => stream::<8>,
        };
        for unit in begin..end {
            unpack_one(
                codes.add(unit * unit_length),
                unit_length,
                bytes.add(unit * stride + start),
                offset,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn inverts_pack_for_every_width() {
        for bits in 1..=8u32 {
            let codes: Vec<u8> = (0..37u32).map(|i| (i * 7 % (1 << bits)) as u8).collect();
            let size = (37 * bits as usize).div_ceil(8);
            let (mut bytes, mut back) = (vec![0u8; size], vec![0u8; 37]);
            let none = core::ptr::null_mut();
            unsafe {
                crate::pack::scalar(
                    codes.as_ptr(),
                    bytes.as_mut_ptr(),
                    bits,
                    37,
                    size,
                    0,
                    0,
                    1,
                    none,
                    0,
                    1,
                );
                super::scalar(
                    back.as_mut_ptr(),
                    bytes.as_ptr(),
                    bits,
                    37,
                    size,
                    0,
                    0,
                    1,
                    none,
                    0,
                    1,
                );
            }
            assert_eq!(codes, back);
        }
    }
}
