//! `y = x W^T` with a dense weight in panels. Parallel over panels of 16 output channels.
//!
//! Each output is the sum over columns in chunks of 256; inside a chunk products are added in
//! ascending order to an accumulator that starts at 0; chunk sums are added in ascending order.
//!
//! `x` is in tiles of tokens, see `token_tiles.rs`; one token is as it is.

use crate::panels::PANEL;
use crate::token_tiles::at;

/// Columns of a chunk.
pub const CHUNK: usize = 256;

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    panels: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for r in begin * PANEL..(end * PANEL).min(rows) {
        let weight = |c: usize| *panels.add((r / PANEL * columns + c) * PANEL + r % PANEL);
        for t in 0..tokens {
            let input = |c: usize| *x.add(at(t, tokens, c, columns));
            *y.add(t * rows + r) = sum(columns, input, weight);
        }
    }
}

/// The sum of one output, in the order of the specification.
pub fn sum(columns: usize, x: impl Fn(usize) -> f32, weight: impl Fn(usize) -> f32) -> f32 {
    let mut total = 0.0;
    for first in (0..columns).step_by(CHUNK) {
        let mut chunk = 0.0;
        for c in first..(first + CHUNK).min(columns) {
            chunk += x(c) * weight(c);
        }
        total += chunk;
    }
    total
}

/// Panel by panel, chunk by chunk, in tiles of up to 4 tokens x 8 channels.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    panels: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for panel in begin..end {
        let w = panels.add(panel * columns * PANEL);
        let out = tile::Output::new(y, rows, panel);
        out.clear(tokens);
        for first in (0..columns).step_by(CHUNK) {
            let depth = CHUNK.min(columns - first);
            let inputs = tile::Inputs {
                x,
                tokens,
                columns,
                first,
                depth,
            };
            tile::multiply_chunk(&inputs, w.add(first * PANEL), &out);
        }
    }
}

/// The micro-kernels, shared with `linear_packed` and `linear_grouped`.
#[cfg(target_arch = "wasm32")]
pub mod tile {
    use super::PANEL;
    use crate::lanes::{load, opaque, splat, store};
    use crate::token_tiles::TILE;
    use core::arch::wasm32::*;

    /// Where the sums of one panel go: `y[token, first..first + valid]`.
    pub struct Output {
        y: *mut f32,
        stride: usize,
        valid: usize,
    }

    impl Output {
        /// The outputs of a panel in `y` `[tokens, rows]`.
        pub unsafe fn new(y: *mut f32, rows: usize, panel: usize) -> Self {
            let first = panel * PANEL;
            Self {
                y: y.add(first),
                stride: rows,
                valid: PANEL.min(rows - first),
            }
        }

        /// Sets the outputs of all tokens to zero.
        pub unsafe fn clear(&self, tokens: usize) {
            for t in 0..tokens {
                let y = self.y.add(t * self.stride);
                for j in 0..self.valid {
                    *y.add(j) = 0.0;
                }
            }
        }

        /// Adds four chunk sums, of channels `4 * vector` on, to the outputs of one token.
        #[inline(always)]
        pub unsafe fn add_four(&self, token: usize, vector: usize, sums: v128) {
            let first = 4 * vector;
            let y = self.y.add(token * self.stride + first);
            if first + 4 <= self.valid {
                store(y, f32x4_add(load(y), sums));
            } else if first < self.valid {
                let lanes: [f32; 4] = core::mem::transmute(sums);
                for (j, sum) in lanes.iter().enumerate().take(self.valid - first) {
                    *y.add(j) += sum;
                }
            }
        }

        /// Adds chunk sums to the outputs of one token.
        #[inline(always)]
        pub unsafe fn add(&self, token: usize, sums: &[v128; 4]) {
            let y = self.y.add(token * self.stride);
            if self.valid == PANEL {
                for (j, sum) in sums.iter().enumerate() {
                    store(y.add(4 * j), f32x4_add(load(y.add(4 * j)), *sum));
                }
            } else {
                let sums: &[f32; PANEL] = core::mem::transmute(sums);
                for (j, sum) in sums.iter().enumerate().take(self.valid) {
                    *y.add(j) += sum;
                }
            }
        }
    }

    /// One chunk of the columns of all tokens.
    pub struct Inputs {
        pub x: *const f32,
        pub tokens: usize,
        pub columns: usize,
        pub first: usize,
        pub depth: usize,
    }

    /// Adds the products of one chunk to the outputs: `w` is `[depth][16]`.
    pub unsafe fn multiply_chunk(inputs: &Inputs, w: *const f32, out: &Output) {
        for t in (0..inputs.tokens).step_by(TILE) {
            let count = TILE.min(inputs.tokens - t);
            let x = inputs.x.add(t * inputs.columns + inputs.first * count);
            match count {
                4 => multiply::<4, 2>(x, w, inputs.depth, t, out),
                3 => multiply::<3, 2>(x, w, inputs.depth, t, out),
                2 => multiply::<2, 4>(x, w, inputs.depth, t, out),
                _ => multiply::<1, 4>(x, w, inputs.depth, t, out),
            }
        }
    }

    /// `TOKENS` tokens by 16 channels, `VECTORS` x 4 channels at a time.
    #[inline(always)]
    unsafe fn multiply<const TOKENS: usize, const VECTORS: usize>(
        x: *const f32,
        w: *const f32,
        depth: usize,
        token: usize,
        out: &Output,
    ) {
        for first in (0..4).step_by(VECTORS) {
            let sums = accumulate::<TOKENS, VECTORS>(x, w.add(4 * first), depth);
            for (t, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    out.add_four(token + t, first + v, *sum);
                }
            }
        }
    }

    /// The products of some tokens and channels over `depth` columns, added in order.
    #[inline(always)]
    pub unsafe fn accumulate<const TOKENS: usize, const VECTORS: usize>(
        mut x: *const f32,
        mut w: *const f32,
        depth: usize,
    ) -> [[v128; VECTORS]; TOKENS] {
        let mut acc = [[f32x4_splat(0.0); VECTORS]; TOKENS];
        for _ in 0..depth {
            // one step at a time: the compiler would gather the loads of several, and spill sums
            (x, w) = (opaque(x), opaque(w));
            step(&mut acc, x, w);
            x = x.add(TOKENS);
            w = w.add(PANEL);
        }
        acc
    }

    /// Adds the products of one column.
    #[inline(always)]
    pub unsafe fn step<const TOKENS: usize, const VECTORS: usize>(
        acc: &mut [[v128; VECTORS]; TOKENS],
        x: *const f32,
        w: *const f32,
    ) {
        let weights: [v128; VECTORS] = core::array::from_fn(|v| load(w.add(4 * v)));
        for (t, acc) in acc.iter_mut().enumerate() {
            let value = splat(x.add(t));
            for (acc, weight) in acc.iter_mut().zip(weights) {
                *acc = f32x4_add(*acc, f32x4_mul(value, weight));
            }
        }
    }
}
