//! Codes to bytes. Parallel over units (rows or blocks).

/// One stream, code by code: a little-endian bit stream; the last byte is filled with zeros.
unsafe fn scalar_stream(codes: *const u8, n: usize, bytes: *mut u8, bits: u32, offset: u32) {
    let mask = (1u32 << bits) - 1;
    let (mut held, mut count, mut at) = (0u32, 0, 0);
    for i in 0..n {
        held |= ((*codes.add(i) as u32 + offset) & mask) << count;
        count += bits;
        if count >= 8 {
            *bytes.add(at) = held as u8;
            at += 1;
            held >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        *bytes.add(at) = held as u8;
    }
}

/// Code `j` in the low and code `j + n / 2` in the high half of byte `j`.
unsafe fn scalar_halves(codes: *const u8, n: usize, bytes: *mut u8, from: usize, offset: u32) {
    let half = n / 2;
    for j in from..half {
        let low = (*codes.add(j) as u32 + offset) & 15;
        let high = (*codes.add(j + half) as u32 + offset) & 15;
        *bytes.add(j) = (low | high << 4) as u8;
    }
}

/// The definition.
pub unsafe fn scalar(
    codes: *const u8,
    bytes: *mut u8,
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
            scalar_halves(codes, unit_length, bytes, 0, offset);
        } else {
            scalar_stream(codes, unit_length, bytes, bits, offset);
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use core::arch::wasm32::*;

    /// Joins neighbouring fields of `width` codes: each starts `width` bytes after the last.
    #[inline(always)]
    fn join<const BITS: u32>(v: v128, width: u32) -> v128 {
        let low = u64x2_splat(crate::unpack::even_fields(BITS, width));
        let high = v128_and(
            u64x2_shr(v, width * (8 - BITS)),
            u64x2_shl(low, width * BITS),
        );
        v128_or(v128_and(v, low), high)
    }

    /// Sixteen codes at a time, squeezed together inside two 64-bit lanes.
    unsafe fn stream<const BITS: u32>(codes: *const u8, n: usize, bytes: *mut u8, offset: u32) {
        let bytes_of_8 = BITS as usize;
        let total = (n * bytes_of_8).div_ceil(8);
        let offsets = u8x16_splat(offset as u8);
        let mask = u8x16_splat(((1u32 << BITS) - 1) as u8);
        let (mut i, mut at) = (0, 0);
        // a store of 8 bytes may run over bytes of this stream that are written later
        while i + 16 <= n && at + bytes_of_8 + 8 <= total {
            let v = v128_load(codes.add(i) as *const v128);
            let v = v128_and(u8x16_add(v, offsets), mask);
            let v = join::<BITS>(join::<BITS>(join::<BITS>(v, 1), 2), 4);
            (bytes.add(at) as *mut u64).write_unaligned(u64x2_extract_lane::<0>(v));
            (bytes.add(at + bytes_of_8) as *mut u64).write_unaligned(u64x2_extract_lane::<1>(v));
            i += 16;
            at += 2 * bytes_of_8;
        }
        scalar_stream(codes.add(i), n - i, bytes.add(at), BITS, offset);
    }

    unsafe fn halves16(codes: *const u8, n: usize, bytes: *mut u8, offset: u32) {
        let half = n / 2;
        let whole = half / 16 * 16;
        let offsets = u8x16_splat(offset as u8);
        let nibble = |p: *const u8| {
            v128_and(
                u8x16_add(v128_load(p as *const v128), offsets),
                u8x16_splat(15),
            )
        };
        for j in (0..whole).step_by(16) {
            let (low, high) = (nibble(codes.add(j)), nibble(codes.add(j + half)));
            v128_store(bytes.add(j) as *mut v128, v128_or(low, u8x16_shl(high, 4)));
        }
        scalar_halves(codes, n, bytes, whole, offset);
    }

    /// Sixteen codes at a time.
    pub unsafe fn simd(
        codes: *const u8,
        bytes: *mut u8,
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
        let pack_one = match (halves, bits) {
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
            pack_one(
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
    fn three_bits() {
        let codes = [1u8, 2, 3, 4, 5, 6, 7, 0, 1];
        let mut bytes = [0xffu8; 5];
        unsafe {
            super::scalar(
                codes.as_ptr(),
                bytes.as_mut_ptr(),
                3,
                9,
                5,
                0,
                0,
                0,
                core::ptr::null_mut(),
                0,
                1,
            )
        };
        let stream = codes
            .iter()
            .enumerate()
            .fold(0u64, |s, (i, &c)| s | (c as u64) << (3 * i));
        assert_eq!(bytes[..4], stream.to_le_bytes()[..4]);
        assert_eq!(bytes[4], 0xff);
    }
}
