//! Causal grouped-query attention over a quantised cache: keys and values are decoded one position
//! at a time, `minimum + code * scale` in f32, and used for all queries of their head. Scores, sums
//! and outputs follow `attention`, so that the result has the bits of decoding everything first.
//! Parallel over units of (key/value head, block of 8 queries).

use crate::attention::exponentials;
use crate::log_softmax::largest;

/// Queries of a unit, times the heads that share a key.
pub const BLOCK: usize = 8;

/// Keys or values: quantised rows, then rows that are still f32.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side {
    codes: *const u8,
    scales: *const f32,
    minima: *const f32,
    /// f32 rows, the first at position `quantised`.
    rest: *const f32,
    bits: u32,
    tile_tokens: u32,
    tile_width: u32,
    /// Positions that are quantised.
    quantised: u32,
    /// Columns of a position.
    width: u32,
}

impl Side {
    /// Columns `from..to` of a position.
    unsafe fn decode(&self, position: usize, from: usize, to: usize, out: *mut f32) {
        let width = self.width as usize;
        if position >= self.quantised as usize {
            let row = self.rest.add((position - self.quantised as usize) * width);
            for c in from..to {
                *out.add(c - from) = *row.add(c);
            }
            return;
        }
        let (bits, tile) = (self.bits as usize, self.tile_width as usize);
        let codes = self.codes.add(position * width * bits / 8);
        let first = position / self.tile_tokens as usize * (width / tile);
        for c in from..to {
            let code = *codes.add(c * bits / 8) as usize >> (c * bits % 8) & ((1 << bits) - 1);
            let at = first + c / tile;
            *out.add(c - from) = *self.minima.add(at) + code as f32 * *self.scales.add(at);
        }
    }
}

#[derive(Clone, Copy)]
struct Shape {
    q: *const f32,
    y: *mut f32,
    tokens: usize,
    past: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
}

impl Shape {
    /// Where the row of a query of a unit starts in q and y: queries of a token, then the next token.
    fn row(&self, kv_head: usize, first: usize, query: usize) -> usize {
        let share = self.heads / self.kv_heads;
        let (token, head) = (first + query / share, kv_head * share + query % share);
        (token * self.heads + head) * self.head_size
    }
}

/// What differs between the plain and the wide form; same bits.
trait Steps {
    unsafe fn decode(side: &Side, position: usize, from: usize, to: usize, out: *mut f32);
    unsafe fn dot(a: *const f32, b: *const f32, n: usize) -> f32;
    unsafe fn exponentials(s: *mut f32, n: usize) -> f32;
    /// `y += a x`.
    unsafe fn add(a: f32, x: *const f32, y: *mut f32, n: usize);
}

struct Plain;

unsafe fn products(a: *const f32, b: *const f32, from: usize, n: usize, mut s: [f32; 4]) -> f32 {
    for d in from..n {
        s[d % 4] += *a.add(d) * *b.add(d);
    }
    (s[0] + s[1]) + (s[2] + s[3])
}

impl Steps for Plain {
    unsafe fn decode(side: &Side, position: usize, from: usize, to: usize, out: *mut f32) {
        side.decode(position, from, to, out);
    }

    unsafe fn dot(a: *const f32, b: *const f32, n: usize) -> f32 {
        products(a, b, 0, n, [0.0; 4])
    }

    unsafe fn exponentials(s: *mut f32, n: usize) -> f32 {
        exponentials(s, 0, n, largest(s, 0, n, f32::NEG_INFINITY), [0.0; 4])
    }

    unsafe fn add(a: f32, x: *const f32, y: *mut f32, n: usize) {
        for d in 0..n {
            *y.add(d) += a * *x.add(d);
        }
    }
}

/// Scratch: a decoded row, the scores of the queries of a unit (`past + tokens` each), their factors.
unsafe fn units<S: Steps>(
    shape: Shape,
    scale: f32,
    keys: *const Side,
    values: *const Side,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let (keys, values) = (*keys, *values);
    let size = shape.head_size;
    let share = shape.heads / shape.kv_heads;
    let blocks = shape.tokens.div_ceil(BLOCK);
    let length = shape.past + shape.tokens;
    let row = scratch as *mut f32;
    let scores = row.add(size);
    for unit in begin..end {
        let (kv_head, first) = (unit / blocks, unit % blocks * BLOCK);
        let queries = BLOCK.min(shape.tokens - first) * share;
        let visible = |query: usize| shape.past + first + query / share + 1;
        let all = visible(queries - 1);
        for i in 0..all {
            S::decode(&keys, i, kv_head * size, (kv_head + 1) * size, row);
            for query in (0..queries).filter(|&query| i < visible(query)) {
                let q = shape.q.add(shape.row(kv_head, first, query));
                *scores.add(query * length + i) = S::dot(q, row, size) * scale;
            }
        }
        for query in 0..queries {
            let y = shape.y.add(shape.row(kv_head, first, query));
            y.write_bytes(0, size);
            *scores.add(queries * length + query) =
                S::exponentials(scores.add(query * length), visible(query));
        }
        for i in 0..all {
            S::decode(&values, i, kv_head * size, (kv_head + 1) * size, row);
            for query in (0..queries).filter(|&query| i < visible(query)) {
                let y = shape.y.add(shape.row(kv_head, first, query));
                S::add(*scores.add(query * length + i), row, y, size);
            }
        }
        for query in 0..queries {
            let y = shape.y.add(shape.row(kv_head, first, query));
            let factor = *scores.add(queries * length + query);
            for d in 0..size {
                *y.add(d) *= factor;
            }
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    q: *const f32,
    y: *mut f32,
    tokens: usize,
    past: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    scale: f32,
    keys: *const Side,
    values: *const Side,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let shape = Shape {
        q,
        y,
        tokens,
        past,
        heads,
        kv_heads,
        head_size,
    };
    units::<Plain>(shape, scale, keys, values, scratch, begin, end);
}

/// Positions `begin..end` of a side, decoded to `out` `[end - begin, width]`.
pub unsafe fn decode_rows(side: *const Side, begin: usize, end: usize, out: *mut f32) {
    let side = *side;
    let width = side.width as usize;
    for position in begin..end {
        side.decode(position, 0, width, out.add((position - begin) * width));
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::*;
    use crate::attention::exponentials4;
    use crate::lanes::{lanes4, load, splat, store, widen_to_f32_2p23};
    use core::arch::wasm32::*;

    struct Wide;

    #[inline(always)]
    fn interleave(a: v128, b: v128) -> v128 {
        i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b)
    }

    /// Sixteen codes.
    #[inline(always)]
    unsafe fn codes16(bytes: *const u8, bits: u32) -> v128 {
        match bits {
            8 => v128_load(bytes as *const v128),
            4 => {
                let pairs = v128_load64_zero(bytes as *const u64);
                interleave(v128_and(pairs, u8x16_splat(15)), u8x16_shr(pairs, 4))
            }
            _ => {
                let quads = v128_load32_zero(bytes as *const u32);
                let pairs = interleave(quads, u8x16_shr(quads, 4));
                let three = u8x16_splat(3);
                interleave(v128_and(pairs, three), v128_and(u8x16_shr(pairs, 2), three))
            }
        }
    }

    impl Steps for Wide {
        /// Sixteen columns at a time, if they share a scale or have one each.
        #[inline(always)]
        unsafe fn decode(side: &Side, position: usize, from: usize, to: usize, out: *mut f32) {
            let (width, tile) = (side.width as usize, side.tile_width as usize);
            let bits = side.bits as usize;
            let fits = (tile == 1 || tile % 16 == 0) && from % 16 == 0 && to % 16 == 0;
            if !fits || position >= side.quantised as usize {
                return side.decode(position, from, to, out);
            }
            let codes = side.codes.add(position * width * bits / 8);
            let first = position / side.tile_tokens as usize * (width / tile);
            for c in (from..to).step_by(16) {
                let at = first + c / tile;
                let values = widen_to_f32_2p23(codes16(codes.add(c * bits / 8), side.bits));
                for (v, value) in values.into_iter().enumerate() {
                    let value = f32x4_sub(value, f32x4_splat(8_388_608.0));
                    let (scale, min) = if tile == 1 {
                        (
                            load(side.scales.add(at + 4 * v)),
                            load(side.minima.add(at + 4 * v)),
                        )
                    } else {
                        (splat(side.scales.add(at)), splat(side.minima.add(at)))
                    };
                    store(
                        out.add(c - from + 4 * v),
                        f32x4_add(min, f32x4_mul(value, scale)),
                    );
                }
            }
        }

        #[inline(always)]
        unsafe fn dot(a: *const f32, b: *const f32, n: usize) -> f32 {
            let whole = n / 4 * 4;
            let mut sum = f32x4_splat(0.0);
            for d in (0..whole).step_by(4) {
                sum = f32x4_add(sum, f32x4_mul(load(a.add(d)), load(b.add(d))));
            }
            products(a, b, whole, n, lanes4(sum))
        }

        unsafe fn exponentials(s: *mut f32, n: usize) -> f32 {
            exponentials4(s, n)
        }

        #[inline(always)]
        unsafe fn add(a: f32, x: *const f32, y: *mut f32, n: usize) {
            let whole = n / 4 * 4;
            let factor = f32x4_splat(a);
            for d in (0..whole).step_by(4) {
                let product = f32x4_mul(factor, load(x.add(d)));
                store(y.add(d), f32x4_add(load(y.add(d)), product));
            }
            Plain::add(a, x.add(whole), y.add(whole), n - whole);
        }
    }

    /// Four columns at a time.
    pub unsafe fn simd(
        q: *const f32,
        y: *mut f32,
        tokens: usize,
        past: usize,
        heads: usize,
        kv_heads: usize,
        head_size: usize,
        scale: f32,
        keys: *const Side,
        values: *const Side,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let shape = Shape {
            q,
            y,
            tokens,
            past,
            heads,
            kv_heads,
            head_size,
        };
        units::<Wide>(shape, scale, keys, values, scratch, begin, end);
    }
}
