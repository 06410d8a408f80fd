//! Walsh-Hadamard transform of rows in place: `y = f (M x S) (x)`, with `H = M (x) W`, M a Hadamard
//! matrix of order m, W the one of Sylvester of order 2^k, S a diagonal of signs, f a factor.
//!
//! A row is m blocks of 2^k. First the signs (or, for the transpose, last), then butterflies
//! `(a + b, a - b)` with distances 1, 2, 4 ... in every block, then for every position of a block
//! the products with M: entries added or subtracted one after the other, ascending, starting from
//! the first; then the factor. Parallel over rows.
//!
//! `masks` is M (or its transpose) as the masks that give a value the sign of an entry.

unsafe fn mask(v: f32, mask: u32) -> f32 {
    f32::from_bits(v.to_bits() ^ mask)
}

unsafe fn butterflies(x: *mut f32, block: usize, from: usize) {
    let mut h = from;
    while h < block {
        for i in (0..block).filter(|i| i & h == 0) {
            let (a, b) = (*x.add(i), *x.add(i + h));
            *x.add(i) = a + b;
            *x.add(i + h) = a - b;
        }
        h *= 2;
    }
}

/// Positions `from..block` of the blocks, multiplied by M.
unsafe fn mix(
    x: *const f32,
    out: *mut f32,
    masks: *const u32,
    m: usize,
    block: usize,
    from: usize,
) {
    for j in from..block {
        for i in 0..m {
            let row = masks.add(i * m);
            let mut sum = mask(*x.add(j), *row);
            for p in 1..m {
                sum += mask(*x.add(p * block + j), *row.add(p));
            }
            *out.add(i * block + j) = sum;
        }
    }
}

unsafe fn signs_of(x: *mut f32, signs: *const f32, n: usize) {
    if !signs.is_null() {
        for i in 0..n {
            *x.add(i) *= *signs.add(i);
        }
    }
}

/// The definition. Scratch: a row.
pub unsafe fn scalar(
    x: *mut f32,
    m: usize,
    block: usize,
    masks: *const u32,
    before: *const f32,
    after: *const f32,
    factor: f32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let (n, out) = (m * block, scratch as *mut f32);
    for r in begin..end {
        let x = x.add(r * n);
        signs_of(x, before, n);
        for b in 0..m {
            butterflies(x.add(b * block), block, 1);
        }
        mix(x, out, masks, m, block, 0);
        for i in 0..n {
            *x.add(i) = *out.add(i) * factor;
        }
        signs_of(x, after, n);
    }
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
mod wide {
    use super::{butterflies, mix, signs_of};
    use crate::lanes::{load, store};
    use core::arch::wasm32::*;

    unsafe fn butterflies4(x: *mut f32, block: usize) {
        if block < 4 {
            return butterflies(x, block, 1);
        }
        let (odd, high) = (u32x4(0, 1 << 31, 0, 1 << 31), u32x4(0, 0, 1 << 31, 1 << 31));
        for i in (0..block).step_by(4) {
            let v = load(x.add(i));
            let v = f32x4_add(i32x4_shuffle::<1, 0, 3, 2>(v, v), v128_xor(v, odd));
            let v = f32x4_add(i32x4_shuffle::<2, 3, 0, 1>(v, v), v128_xor(v, high));
            store(x.add(i), v);
        }
        let mut h = 4;
        while h < block {
            for first in (0..block).step_by(2 * h) {
                for i in (first..first + h).step_by(4) {
                    let (a, b) = (load(x.add(i)), load(x.add(i + h)));
                    store(x.add(i), f32x4_add(a, b));
                    store(x.add(i + h), f32x4_sub(a, b));
                }
            }
            h *= 2;
        }
    }

    /// Four rows of M at a time, so that four sums run side by side; m is a multiple of 4.
    unsafe fn mix4(x: *const f32, out: *mut f32, masks: *const u32, m: usize, block: usize) {
        let whole = block / 4 * 4;
        for j in (0..whole).step_by(4) {
            for i in (0..m).step_by(4) {
                let rows: [*const u32; 4] = core::array::from_fn(|r| masks.add((i + r) * m));
                let first = load(x.add(j));
                let mut sums = rows.map(|row| v128_xor(first, v128_load32_splat(row)));
                for p in 1..m {
                    let v = load(x.add(p * block + j));
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        *sum = f32x4_add(*sum, v128_xor(v, v128_load32_splat(row.add(p))));
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    store(out.add((i + r) * block + j), sum);
                }
            }
        }
        mix(x, out, masks, m, block, whole);
    }

    /// Four values at a time.
    pub unsafe fn simd(
        x: *mut f32,
        m: usize,
        block: usize,
        masks: *const u32,
        before: *const f32,
        after: *const f32,
        factor: f32,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let n = m * block;
        for r in begin..end {
            let x = x.add(r * n);
            signs_of(x, before, n);
            for b in 0..m {
                butterflies4(x.add(b * block), block);
            }
            let mut from = x as *const f32;
            if m > 1 {
                mix4(x, scratch as *mut f32, masks, m, block);
                from = scratch as *const f32;
            }
            let whole = n / 4 * 4;
            for i in (0..whole).step_by(4) {
                store(x.add(i), f32x4_mul(load(from.add(i)), f32x4_splat(factor)));
            }
            for i in whole..n {
                *x.add(i) = *from.add(i) * factor;
            }
            signs_of(x, after, n);
        }
    }
}
