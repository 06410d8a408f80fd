//! The SIMD version of `attention.rs`, with the same order of sums.

use crate::attention::{exponentials, Shape, BLOCK};
use crate::exp::exp32x4;
use crate::lanes::{lanes2, lanes4, load, promote, splat, store};
use crate::log_softmax::largest4;
use core::arch::wasm32::*;

/// Keys of a transposed panel.
const PANEL: usize = 16;

/// Scratch: scores `[32][keys rounded up to 16]`, then a panel of keys `[head_size][16]`.
pub unsafe fn simd(
    q: *const f32,
    k: *const f32,
    v: *const f32,
    y: *mut f32,
    tokens: usize,
    past: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    scale: f32,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let shape = Shape {
        q,
        k,
        v,
        y,
        tokens,
        past,
        heads,
        kv_heads,
        head_size,
        scale,
    };
    let row = (past + tokens).div_ceil(PANEL) * PANEL;
    let scores = scratch as *mut f32;
    let panel = scores.add(BLOCK * row);
    for unit in begin..end {
        let (head, first) = shape.unit(unit);
        let count = BLOCK.min(tokens - first);
        if count < 4 {
            few_scores(&shape, head, first, count, scores, row);
        } else {
            block_scores(&shape, head, first, count, scores, row, panel);
        }
        weigh(&shape, head, first, count, scores, row);
    }
}

/// Keys that are multiplied side by side, so that none waits for the sum of another.
const KEYS: usize = 4;

/// Scores of a few queries, a dot product each.
unsafe fn few_scores(
    shape: &Shape,
    head: usize,
    first: usize,
    count: usize,
    scores: *mut f32,
    row: usize,
) {
    let (k, stride) = (shape.first(shape.k, head), shape.kv_stride());
    for t in 0..count {
        let q = shape.query(first + t, head);
        let (out, keys) = (scores.add(t * row), shape.past + first + t + 1);
        let whole = keys / KEYS * KEYS;
        for i in (0..whole).step_by(KEYS) {
            let sums = dots::<KEYS>(q, k.add(i * stride), stride, shape.head_size);
            for (j, sum) in sums.iter().enumerate() {
                *out.add(i + j) = sum * shape.scale;
            }
        }
        for i in whole..keys {
            let [sum] = dots::<1>(q, k.add(i * stride), stride, shape.head_size);
            *out.add(i) = sum * shape.scale;
        }
    }
}

/// The products of a query and `N` keys.
#[inline(always)]
unsafe fn dots<const N: usize>(q: *const f32, k: *const f32, stride: usize, n: usize) -> [f32; N] {
    let whole = n / 4 * 4;
    let mut acc = [f32x4_splat(0.0); N];
    for d in (0..whole).step_by(4) {
        let q = load(q.add(d));
        for (j, acc) in acc.iter_mut().enumerate() {
            *acc = f32x4_add(*acc, f32x4_mul(q, load(k.add(j * stride + d))));
        }
    }
    core::array::from_fn(|j| {
        let mut sums = lanes4(acc[j]);
        for d in whole..n {
            sums[d % 4] += *q.add(d) * *k.add(j * stride + d);
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    })
}

/// Scores of a block of queries, 16 keys at a time; those beyond the diagonal are not read.
unsafe fn block_scores(
    shape: &Shape,
    head: usize,
    first: usize,
    count: usize,
    scores: *mut f32,
    row: usize,
    panel: *mut f32,
) {
    let (k, stride) = (shape.first(shape.k, head), shape.kv_stride());
    let keys = shape.past + first + count;
    for start in (0..keys).step_by(PANEL) {
        let width = PANEL.min(keys - start);
        for j in 0..PANEL {
            let key = k.add((start + j.min(width - 1)) * stride);
            for d in 0..shape.head_size {
                *panel.add(d * PANEL + j) = *key.add(d);
            }
        }
        let step = shape.heads * shape.head_size;
        let mut t = 0;
        while t + 2 <= count {
            let q = shape.query(first + t, head);
            score_tile::<2>(q, step, panel, shape, scores.add(t * row + start), row);
            t += 2;
        }
        if t < count {
            let q = shape.query(first + t, head);
            score_tile::<1>(q, step, panel, shape, scores.add(t * row + start), row);
        }
    }
}

#[inline(always)]
unsafe fn score_tile<const QUERIES: usize>(
    q: *const f32,
    step: usize,
    panel: *const f32,
    shape: &Shape,
    out: *mut f32,
    row: usize,
) {
    let partial = |l: usize| {
        let mut acc = [[f32x4_splat(0.0); 4]; QUERIES];
        for d in (l..shape.head_size).step_by(4) {
            let keys: [v128; 4] = core::array::from_fn(|v| load(panel.add(d * PANEL + 4 * v)));
            for (t, acc) in acc.iter_mut().enumerate() {
                let value = splat(q.add(t * step + d));
                for (acc, key) in acc.iter_mut().zip(keys) {
                    *acc = f32x4_add(*acc, f32x4_mul(value, key));
                }
            }
        }
        acc
    };
    let sums = [partial(0), partial(1), partial(2), partial(3)];
    for t in 0..QUERIES {
        for v in 0..4 {
            let low = f32x4_add(sums[0][t][v], sums[1][t][v]);
            let high = f32x4_add(sums[2][t][v], sums[3][t][v]);
            store(
                out.add(t * row + 4 * v),
                f32x4_mul(f32x4_add(low, high), f32x4_splat(shape.scale)),
            );
        }
    }
}

/// Scores to outputs: exponentials, then the weighted values in tiles of up to 4 queries.
unsafe fn weigh(
    shape: &Shape,
    head: usize,
    first: usize,
    count: usize,
    scores: *mut f32,
    row: usize,
) {
    let mut t = 0;
    while t < count {
        let queries = 4.min(count - t);
        let keys = shape.past + first + t + queries;
        let mut factors = [0f32; 4];
        for (i, factor) in factors.iter_mut().enumerate().take(queries) {
            let s = scores.add((t + i) * row);
            let n = shape.past + first + t + i + 1;
            *factor = exponentials4(s, n);
            for beyond in n..keys {
                *s.add(beyond) = 0.0;
            }
        }
        let s = scores.add(t * row);
        let y = shape.output(first + t, head);
        let v = shape.first(shape.v, head);
        match queries {
            4 => values::<4>(shape, s, row, keys, v, y, &factors),
            3 => values::<3>(shape, s, row, keys, v, y, &factors),
            2 => values::<2>(shape, s, row, keys, v, y, &factors),
            _ => values::<1>(shape, s, row, keys, v, y, &factors),
        }
        t += queries;
    }
}

pub unsafe fn exponentials4(s: *mut f32, n: usize) -> f32 {
    let max = largest4(s, n);
    let whole = n / 4 * 4;
    let (mut low, mut high) = (f64x2_splat(0.0), f64x2_splat(0.0));
    for i in (0..whole).step_by(4) {
        let e = exp32x4(f32x4_sub(load(s.add(i)), f32x4_splat(max)));
        store(s.add(i), e);
        let (a, b) = promote(e);
        low = f64x2_add(low, a);
        high = f64x2_add(high, b);
    }
    let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
    exponentials(s, whole, n, max, [s0, s1, s2, s3])
}

/// Some queries by `4 * WIDTH` positions of the values.
#[inline(always)]
unsafe fn value_tile<const QUERIES: usize, const WIDTH: usize>(
    (s, row, keys, stride, step, factors): (*const f32, usize, usize, usize, usize, &[f32; 4]),
    v: *const f32,
    y: *mut f32,
) {
    let mut acc = [[f32x4_splat(0.0); WIDTH]; QUERIES];
    for i in 0..keys {
        let parts: [v128; WIDTH] = core::array::from_fn(|w| load(v.add(i * stride + 4 * w)));
        for (t, acc) in acc.iter_mut().enumerate() {
            let weight = splat(s.add(t * row + i));
            for (acc, part) in acc.iter_mut().zip(parts) {
                *acc = f32x4_add(*acc, f32x4_mul(weight, part));
            }
        }
    }
    for (t, acc) in acc.iter().enumerate() {
        for (w, sum) in acc.iter().enumerate() {
            let out = y.add(t * step + 4 * w);
            store(out, f32x4_mul(*sum, f32x4_splat(factors[t])));
        }
    }
}

#[inline(always)]
unsafe fn values<const QUERIES: usize>(
    shape: &Shape,
    s: *const f32,
    row: usize,
    keys: usize,
    v: *const f32,
    y: *mut f32,
    factors: &[f32; 4],
) {
    let (size, stride, step) = (
        shape.head_size,
        shape.kv_stride(),
        shape.heads * shape.head_size,
    );
    let tile = (s, row, keys, stride, step, factors);
    let mut d = 0;
    if QUERIES == 1 {
        // A single query has registers for more of it, and would wait for its sums otherwise.
        while d + 32 <= size {
            value_tile::<QUERIES, 8>(tile, v.add(d), y.add(d));
            d += 32;
        }
    }
    while d + 8 <= size {
        value_tile::<QUERIES, 2>(tile, v.add(d), y.add(d));
        d += 8;
    }
    for d in d..size {
        for t in 0..QUERIES {
            let sum = (0..keys).fold(0f32, |sum, i| {
                sum + *s.add(t * row + i) * *v.add(i * stride + d)
            });
            *y.add(t * step + d) = sum * factors[t];
        }
    }
}
