//! `y = (x - mean) / sqrt(var + epsilon) * weight + bias`. Sums in f64 in four partial sums (columns
//! modulo 4); the difference to the mean in f64, rounded to f32. Parallel over rows.

unsafe fn sums(x: *const f32, from: usize, n: usize, mut s: [f64; 4]) -> [f64; 4] {
    for c in from..n {
        s[c % 4] += *x.add(c) as f64;
    }
    s
}

unsafe fn squares(x: *const f32, from: usize, n: usize, mean: f64, mut s: [f64; 4]) -> [f64; 4] {
    for c in from..n {
        let v = *x.add(c) as f64 - mean;
        s[c % 4] += v * v;
    }
    s
}

fn total(s: [f64; 4]) -> f64 {
    (s[0] + s[2]) + (s[1] + s[3])
}

fn factor(s: [f64; 4], n: usize, epsilon: f64) -> f32 {
    (1.0 / libm::sqrt(total(s) / n as f64 + epsilon)) as f32
}

unsafe fn finish(
    x: *const f32,
    y: *mut f32,
    from: usize,
    n: usize,
    weight: *const f32,
    bias: *const f32,
    mean: f64,
    factor: f32,
) {
    for c in from..n {
        let v = (*x.add(c) as f64 - mean) as f32 * factor * *weight.add(c);
        *y.add(c) = if bias.is_null() { v } else { v + *bias.add(c) };
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    columns: usize,
    weight: *const f32,
    bias: *const f32,
    epsilon: f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        let (x, y) = (x.add(r * columns), y.add(r * columns));
        let mean = total(sums(x, 0, columns, [0.0; 4])) / columns as f64;
        let f = factor(squares(x, 0, columns, mean, [0.0; 4]), columns, epsilon);
        finish(x, y, 0, columns, weight, bias, mean, f);
    }
}

/// Four columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *mut f32,
    columns: usize,
    weight: *const f32,
    bias: *const f32,
    epsilon: f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{lanes2, load, promote, store};
    use core::arch::wasm32::*;
    let whole = columns / 4 * 4;
    for r in begin..end {
        let (x, y) = (x.add(r * columns), y.add(r * columns));
        let (mut low, mut high) = (f64x2_splat(0.0), f64x2_splat(0.0));
        for c in (0..whole).step_by(4) {
            let (a, b) = promote(load(x.add(c)));
            low = f64x2_add(low, a);
            high = f64x2_add(high, b);
        }
        let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
        let mean = total(sums(x, whole, columns, [s0, s1, s2, s3])) / columns as f64;
        let means = f64x2_splat(mean);
        (low, high) = (f64x2_splat(0.0), f64x2_splat(0.0));
        for c in (0..whole).step_by(4) {
            let (a, b) = promote(load(x.add(c)));
            let (a, b) = (f64x2_sub(a, means), f64x2_sub(b, means));
            low = f64x2_add(low, f64x2_mul(a, a));
            high = f64x2_add(high, f64x2_mul(b, b));
        }
        let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
        let f = factor(
            squares(x, whole, columns, mean, [s0, s1, s2, s3]),
            columns,
            epsilon,
        );
        for c in (0..whole).step_by(4) {
            let (a, b) = promote(load(x.add(c)));
            let a = f32x4_demote_f64x2_zero(f64x2_sub(a, means));
            let b = f32x4_demote_f64x2_zero(f64x2_sub(b, means));
            let v = f32x4_mul(i64x2_shuffle::<0, 2>(a, b), f32x4_splat(f));
            let v = f32x4_mul(v, load(weight.add(c)));
            store(
                y.add(c),
                if bias.is_null() {
                    v
                } else {
                    f32x4_add(v, load(bias.add(c)))
                },
            );
        }
        finish(x, y, whole, columns, weight, bias, mean, f);
    }
}
