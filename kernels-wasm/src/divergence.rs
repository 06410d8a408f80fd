//! Row by row `sum(e^p (p - q))` of log-probabilities in f64, in four partial sums (columns modulo
//! 4), and whether the first largest entries are in the same column. An entry whose probability is
//! 0 adds nothing. Parallel over rows.

use crate::exp::exp64;
use crate::log_softmax::largest;

unsafe fn terms(
    p: *const f32,
    q: *const f32,
    from: usize,
    columns: usize,
    mut sums: [f64; 4],
) -> [f64; 4] {
    for c in from..columns {
        let (p, q) = (*p.add(c) as f64, *q.add(c) as f64);
        let weight = exp64(p);
        if weight != 0.0 {
            sums[c % 4] += weight * (p - q);
        }
    }
    sums
}

fn total(sums: [f64; 4]) -> f64 {
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}

unsafe fn first(x: *const f32, columns: usize, max: f32) -> Option<usize> {
    (0..columns).find(|&c| *x.add(c) == max)
}

unsafe fn agree_at(p: *const f32, q: *const f32, columns: usize, p_max: f32, q_max: f32) -> u8 {
    (first(p, columns, p_max) == first(q, columns, q_max)) as u8
}

/// The definition.
pub unsafe fn scalar(
    p: *const f32,
    q: *const f32,
    columns: usize,
    kl: *mut f64,
    agree: *mut u8,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        let (p, q) = (p.add(r * columns), q.add(r * columns));
        *kl.add(r) = total(terms(p, q, 0, columns, [0.0; 4]));
        let p_max = largest(p, 0, columns, f32::NEG_INFINITY);
        let q_max = largest(q, 0, columns, f32::NEG_INFINITY);
        *agree.add(r) = agree_at(p, q, columns, p_max, q_max);
    }
}

/// Four columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    p: *const f32,
    q: *const f32,
    columns: usize,
    kl: *mut f64,
    agree: *mut u8,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::exp::exp64x2;
    use crate::lanes::{lanes2, load, promote};
    use crate::log_softmax::largest4;
    use core::arch::wasm32::*;
    let whole = columns / 4 * 4;
    let term = |p: v128, q: v128| {
        let weight = exp64x2(p);
        let term = f64x2_mul(weight, f64x2_sub(p, q));
        v128_andnot(term, f64x2_eq(weight, f64x2_splat(0.0)))
    };
    for r in begin..end {
        let (p, q) = (p.add(r * columns), q.add(r * columns));
        let (mut low, mut high) = (f64x2_splat(0.0), f64x2_splat(0.0));
        for c in (0..whole).step_by(4) {
            let ((p0, p1), (q0, q1)) = (promote(load(p.add(c))), promote(load(q.add(c))));
            low = f64x2_add(low, term(p0, q0));
            high = f64x2_add(high, term(p1, q1));
        }
        let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
        *kl.add(r) = total(terms(p, q, whole, columns, [s0, s1, s2, s3]));
        *agree.add(r) = agree_at(p, q, columns, largest4(p, columns), largest4(q, columns));
    }
}
