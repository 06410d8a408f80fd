//! `error[tile] = sum |x - y|^exponent`: f32 differences, powers and sums in f64, in four partial
//! sums (columns of the tile modulo 4). Parallel over rows of the grid.

use crate::pow::pow64;

#[inline(always)]
fn term(x: f32, y: f32, exponent: f64) -> f64 {
    let difference = (x - y).abs() as f64;
    if exponent == 2.0 {
        difference * difference
    } else {
        pow64(difference, exponent)
    }
}

unsafe fn scalar_row(
    x: *const f32,
    y: *const f32,
    from: usize,
    n: usize,
    exponent: f64,
    mut sums: [f64; 4],
) -> [f64; 4] {
    for i in from..n {
        sums[i % 4] += term(*x.add(i), *y.add(i), exponent);
    }
    sums
}

#[inline(always)]
unsafe fn each_tile(
    row: impl Fn(*const f32, *const f32, usize, [f64; 4]) -> [f64; 4],
    x: *const f32,
    y: *const f32,
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    error: *mut f64,
    begin: usize,
    end: usize,
) {
    for t in begin..end {
        for g in 0..grid_columns {
            let first = g * tile_columns;
            let n = tile_columns.min(columns - first);
            let sums =
                (t * tile_rows..((t + 1) * tile_rows).min(rows)).fold([0.0; 4], |sums, r| {
                    let at = r * columns + first;
                    row(x.add(at), y.add(at), n, sums)
                });
            *error.add(t * grid_columns + g) = (sums[0] + sums[2]) + (sums[1] + sums[3]);
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *const f32,
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    exponent: f64,
    error: *mut f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    each_tile(
        |x, y, n, sums| scalar_row(x, y, 0, n, exponent, sums),
        x,
        y,
        rows,
        columns,
        tile_rows,
        tile_columns,
        grid_columns,
        error,
        begin,
        end,
    );
}

/// Four elements at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *const f32,
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    exponent: f64,
    error: *mut f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{lanes2, load, promote};
    use crate::pow::pow64x2;
    use core::arch::wasm32::*;
    let square = exponent == 2.0;
    let power = |v: v128| {
        if square {
            f64x2_mul(v, v)
        } else {
            pow64x2(v, exponent)
        }
    };
    let row = |x: *const f32, y: *const f32, n: usize, sums: [f64; 4]| {
        let whole = n / 4 * 4;
        let (mut low, mut high) = (f64x2(sums[0], sums[1]), f64x2(sums[2], sums[3]));
        for i in (0..whole).step_by(4) {
            let (a, b) = promote(f32x4_abs(f32x4_sub(load(x.add(i)), load(y.add(i)))));
            low = f64x2_add(low, power(a));
            high = f64x2_add(high, power(b));
        }
        let ([s0, s1], [s2, s3]) = (lanes2(low), lanes2(high));
        scalar_row(x, y, whole, n, exponent, [s0, s1, s2, s3])
    };
    each_tile(
        row,
        x,
        y,
        rows,
        columns,
        tile_rows,
        tile_columns,
        grid_columns,
        error,
        begin,
        end,
    );
}
