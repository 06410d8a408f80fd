//! `y = x w` or `y = x^T w`, `w` `[inner, columns]`, in the order of `linear_dense`: the element k of
//! token t is `x[t * row + k * step]`. Parallel over panels of 16 columns.

use crate::linear_dense::CHUNK;
use crate::panels::PANEL;

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    row: usize,
    step: usize,
    w: *const f32,
    y: *mut f32,
    tokens: usize,
    inner: usize,
    columns: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for c in begin * PANEL..(end * PANEL).min(columns) {
        for t in 0..tokens {
            let mut total = 0f32;
            for first in (0..inner).step_by(CHUNK) {
                let mut sum = 0f32;
                for k in first..(first + CHUNK).min(inner) {
                    sum += *x.add(t * row + k * step) * *w.add(k * columns + c);
                }
                total += sum;
            }
            *y.add(t * columns + c) = total;
        }
    }
}

/// Tokens whose chunk is put in tiles at a time.
#[cfg(target_arch = "wasm32")]
const BLOCK: usize = 32;

/// Panels of w, and blocks of x^T, are copied to scratch: `256 * (16 + 32)` f32.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    row: usize,
    step: usize,
    w: *const f32,
    y: *mut f32,
    tokens: usize,
    inner: usize,
    columns: usize,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::linear_dense::tile;
    use crate::token_tiles::at;
    let panel = scratch as *mut f32;
    let block = panel.add(CHUNK * PANEL);
    for p in begin..end {
        let width = PANEL.min(columns - p * PANEL);
        tile::Output::new(y, columns, p).clear(tokens);
        for first in (0..inner).step_by(CHUNK) {
            let depth = CHUNK.min(inner - first);
            for k in 0..depth {
                let from = w.add((first + k) * columns + p * PANEL);
                if width == PANEL {
                    crate::lanes::copy16(from, panel.add(k * PANEL));
                    continue;
                }
                for j in 0..PANEL {
                    *panel.add(k * PANEL + j) = if j < width { *from.add(j) } else { 0.0 };
                }
            }
            for token in (0..tokens).step_by(BLOCK) {
                let count = BLOCK.min(tokens - token);
                for k in 0..depth {
                    let from = x.add(token * row + (first + k) * step);
                    for t in 0..count {
                        *block.add(at(t, count, k, depth)) = *from.add(t * row);
                    }
                }
                let out = tile::Output::new(y.add(token * columns), columns, p);
                let inputs = tile::Inputs {
                    x: block,
                    tokens: count,
                    columns: depth,
                    first: 0,
                    depth,
                };
                tile::multiply_chunk(&inputs, panel, &out);
            }
        }
    }
}
