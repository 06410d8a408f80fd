//! `y = x / sqrt(mean(x^2) + epsilon) * weight`. The squares are summed in f64 in four partial sums
//! (columns modulo 4). Parallel over rows.

/// Four partial sums of squares of the columns from `from` on, continued.
unsafe fn squares(x: *const f32, from: usize, columns: usize, mut sums: [f64; 4]) -> [f64; 4] {
    for c in from..columns {
        let v = *x.add(c) as f64;
        sums[c % 4] += v * v;
    }
    sums
}

fn factor(sums: [f64; 4], columns: usize, epsilon: f64) -> f32 {
    let mean = ((sums[0] + sums[2]) + (sums[1] + sums[3])) / columns as f64;
    (1.0 / libm::sqrt(mean + epsilon)) as f32
}

unsafe fn scalar_row(
    x: *const f32,
    y: *mut f32,
    from: usize,
    columns: usize,
    weight: *const f32,
    factor: f32,
) {
    for c in from..columns {
        *y.add(c) = *x.add(c) * factor * *weight.add(c);
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    columns: usize,
    weight: *const f32,
    epsilon: f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        let x = x.add(r * columns);
        let f = factor(squares(x, 0, columns, [0.0; 4]), columns, epsilon);
        scalar_row(x, y.add(r * columns), 0, columns, weight, f);
    }
}

/// Four columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *mut f32,
    columns: usize,
    weight: *const f32,
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
            low = f64x2_add(low, f64x2_mul(a, a));
            high = f64x2_add(high, f64x2_mul(b, b));
        }
        let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
        let f = factor(
            squares(x, whole, columns, [s0, s1, s2, s3]),
            columns,
            epsilon,
        );
        let factors = f32x4_splat(f);
        for c in (0..whole).step_by(4) {
            let v = f32x4_mul(f32x4_mul(load(x.add(c)), factors), load(weight.add(c)));
            store(y.add(c), v);
        }
        scalar_row(x, y, whole, columns, weight, f);
    }
}
