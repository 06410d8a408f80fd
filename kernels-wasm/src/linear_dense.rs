//! `y = x W^T` with a dense weight in panels. Parallel over panels of 16 output channels.
//!
//! Each output is the sum over columns in chunks of 256; inside a chunk products are added in
//! ascending order to an accumulator that starts at 0; chunk sums are added in ascending order.

use crate::panels::PANEL;

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
            *y.add(t * rows + r) = sum(x.add(t * columns), columns, weight);
        }
    }
}

/// The sum of one output, in the order of the specification.
pub unsafe fn sum(x: *const f32, columns: usize, weight: impl Fn(usize) -> f32) -> f32 {
    let mut total = 0.0;
    for first in (0..columns).step_by(CHUNK) {
        let mut chunk = 0.0;
        for c in first..(first + CHUNK).min(columns) {
            chunk += *x.add(c) * weight(c);
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
            tile::multiply_chunk(
                x.add(first),
                columns,
                w.add(first * PANEL),
                depth,
                tokens,
                &out,
            );
        }
    }
}

/// The micro-kernels, shared with `linear_packed`.
#[cfg(target_arch = "wasm32")]
pub mod tile {
    use super::PANEL;
    use crate::lanes::{load, splat, store};
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

    /// Adds the products of one chunk to the outputs: `w` is `[depth][16]`.
    pub unsafe fn multiply_chunk(
        x: *const f32,
        stride: usize,
        w: *const f32,
        depth: usize,
        tokens: usize,
        out: &Output,
    ) {
        let mut t = 0;
        while t + 4 <= tokens {
            multiply::<4, 2>(x.add(t * stride), stride, w, depth, t, out);
            t += 4;
        }
        match tokens - t {
            3 => multiply::<3, 2>(x.add(t * stride), stride, w, depth, t, out),
            2 => multiply::<2, 4>(x.add(t * stride), stride, w, depth, t, out),
            1 => multiply::<1, 4>(x.add(t * stride), stride, w, depth, t, out),
            _ => {}
        }
    }

    /// `TOKENS` tokens by 16 channels, `VECTORS` x 4 channels at a time.
    #[inline(always)]
    unsafe fn multiply<const TOKENS: usize, const VECTORS: usize>(
        x: *const f32,
        stride: usize,
        w: *const f32,
        depth: usize,
        token: usize,
        out: &Output,
    ) {
        let mut sums = [[f32x4_splat(0.0); 4]; TOKENS];
        for first in (0..4).step_by(VECTORS) {
            let part = accumulate::<TOKENS, VECTORS>(x, stride, w.add(4 * first), depth);
            for (sums, part) in sums.iter_mut().zip(part) {
                sums[first..first + VECTORS].copy_from_slice(&part);
            }
        }
        for (t, sums) in sums.iter().enumerate() {
            out.add(token + t, sums);
        }
    }

    #[inline(always)]
    unsafe fn accumulate<const TOKENS: usize, const VECTORS: usize>(
        x: *const f32,
        stride: usize,
        w: *const f32,
        depth: usize,
    ) -> [[v128; VECTORS]; TOKENS] {
        let mut acc = [[f32x4_splat(0.0); VECTORS]; TOKENS];
        let rows: [*const f32; TOKENS] = core::array::from_fn(|t| x.add(t * stride));
        let mut k = 0;
        while k + 4 <= depth {
            for u in 0..4 {
                step(&mut acc, &rows, w, k + u);
            }
            k += 4;
        }
        while k < depth {
            step(&mut acc, &rows, w, k);
            k += 1;
        }
        acc
    }

    #[inline(always)]
    unsafe fn step<const TOKENS: usize, const VECTORS: usize>(
        acc: &mut [[v128; VECTORS]; TOKENS],
        rows: &[*const f32; TOKENS],
        w: *const f32,
        k: usize,
    ) {
        let weights: [v128; VECTORS] = core::array::from_fn(|v| load(w.add(k * PANEL + 4 * v)));
        for (acc, row) in acc.iter_mut().zip(rows) {
            let value = splat(row.add(k));
            for (acc, weight) in acc.iter_mut().zip(weights) {
                *acc = f32x4_add(*acc, f32x4_mul(value, weight));
            }
        }
    }
}
