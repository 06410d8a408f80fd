//! Quantises rows of keys or values, in tiles of some tokens by some columns that share a scale and a
//! minimum: `scale = (max - min) / (2^bits - 1)`, `code = rint((v - min) / scale)` within its range,
//! each step in f32; a scale of 0 gives code 0. A tile with a NaN, an infinity or a range beyond f32
//! gets a NaN as its minimum. Codes are packed in rows of whole bytes, the first in the lowest bits.

use wasm_bindgen::prelude::wasm_bindgen;

/// Encodes `x` `[tokens, width]`; tiles are `[tokens / tile_tokens, width / tile_width]`. `bytes` is
/// cleared first.
#[wasm_bindgen]
pub fn cache_encode(
    x: *const f32,
    tokens: usize,
    width: usize,
    tile_tokens: usize,
    tile_width: usize,
    bits: u32,
    bytes: *mut u8,
    scales: *mut f32,
    minima: *mut f32,
) {
    let levels = ((1u32 << bits) - 1) as f32;
    let (row_bytes, per_byte) = (width * bits as usize / 8, 8 / bits as usize);
    let groups = width / tile_width;
    unsafe {
        bytes.write_bytes(0, tokens * row_bytes);
        for tile in 0..tokens / tile_tokens * groups {
            let (top, left) = (tile / groups * tile_tokens, tile % groups * tile_width);
            let all = || {
                (top..top + tile_tokens)
                    .flat_map(move |t| (left..left + tile_width).map(move |c| (t, c)))
            };
            let (mut min, mut max, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
            for (t, c) in all() {
                let v = *x.add(t * width + c);
                finite &= v.is_finite();
                min = if v < min { v } else { min };
                max = if v > max { v } else { max };
            }
            let scale = (max - min) / levels;
            finite &= scale.is_finite();
            *scales.add(tile) = scale;
            *minima.add(tile) = if finite { min } else { f32::NAN };
            if !finite || scale == 0.0 {
                continue;
            }
            for (t, c) in all() {
                let q = libm::rintf((*x.add(t * width + c) - min) / scale);
                let code = (if q < levels { q } else { levels }) as u32;
                *bytes.add(t * row_bytes + c / per_byte) |=
                    (code << (bits as usize * (c % per_byte))) as u8;
            }
        }
    }
}
