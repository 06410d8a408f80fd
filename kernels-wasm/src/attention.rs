//! Causal grouped-query attention. Parallel over units of (head, block of 32 queries).
//!
//! A score is `((s0 + s1) + (s2 + s3)) * scale`, `s_l` the sum of the products at positions `l`
//! modulo 4 of the head, ascending. Exponentials of `score - max` are summed in f64 in four partial
//! sums (keys modulo 4); values are weighted by them, keys ascending, and the sum is multiplied by
//! the reciprocal of the exponentials' sum.

use crate::exp::exp32;
use crate::log_softmax::largest;

/// Queries of a unit.
pub const BLOCK: usize = 32;

/// The arguments, as a struct that passes on.
#[derive(Clone, Copy)]
pub struct Shape {
    pub q: *const f32,
    pub k: *const f32,
    pub v: *const f32,
    pub y: *mut f32,
    pub tokens: usize,
    pub past: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub scale: f32,
}

impl Shape {
    /// Head and first query of a unit.
    pub fn unit(&self, unit: usize) -> (usize, usize) {
        let blocks = self.tokens.div_ceil(BLOCK);
        (unit / blocks, unit % blocks * BLOCK)
    }

    pub unsafe fn query(&self, token: usize, head: usize) -> *const f32 {
        self.q.add((token * self.heads + head) * self.head_size)
    }

    pub unsafe fn output(&self, token: usize, head: usize) -> *mut f32 {
        self.y.add((token * self.heads + head) * self.head_size)
    }

    pub fn kv_stride(&self) -> usize {
        self.kv_heads * self.head_size
    }

    /// The key (or, from `v`, the value) of position 0 for a query head.
    pub unsafe fn first(&self, base: *const f32, head: usize) -> *const f32 {
        base.add(head / (self.heads / self.kv_heads) * self.head_size)
    }
}

unsafe fn dot(a: *const f32, b: *const f32, n: usize) -> f32 {
    let mut sums = [0f32; 4];
    for d in 0..n {
        sums[d % 4] += *a.add(d) * *b.add(d);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// Scores become exponentials; returns the reciprocal of their sum.
pub unsafe fn exponentials(
    s: *mut f32,
    from: usize,
    n: usize,
    max: f32,
    mut sums: [f64; 4],
) -> f32 {
    for i in from..n {
        let e = exp32(*s.add(i) - max);
        *s.add(i) = e;
        sums[i % 4] += e as f64;
    }
    (1.0 / ((sums[0] + sums[2]) + (sums[1] + sums[3]))) as f32
}

unsafe fn scalar_query(shape: &Shape, head: usize, token: usize, s: *mut f32) {
    let n = shape.past + token + 1;
    let (k, v) = (shape.first(shape.k, head), shape.first(shape.v, head));
    let stride = shape.kv_stride();
    for i in 0..n {
        *s.add(i) = dot(shape.query(token, head), k.add(i * stride), shape.head_size) * shape.scale;
    }
    let max = largest(s, 0, n, f32::NEG_INFINITY);
    let factor = exponentials(s, 0, n, max, [0.0; 4]);
    for d in 0..shape.head_size {
        let sum = (0..n).fold(0f32, |sum, i| sum + *s.add(i) * *v.add(i * stride + d));
        *shape.output(token, head).add(d) = sum * factor;
    }
}

/// The definition. Scratch: one row of scores.
pub unsafe fn scalar(
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
    for unit in begin..end {
        let (head, first) = shape.unit(unit);
        for token in first..(first + BLOCK).min(tokens) {
            scalar_query(&shape, head, token, scratch as *mut f32);
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use crate::attention_simd::{exponentials4, simd};
