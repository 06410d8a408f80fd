//! The extremes of every tile. Parallel over rows of the grid.

/// A NaN result has these bits, whatever NaN went in.
#[inline(always)]
fn canonical(v: f32) -> f32 {
    if v.is_nan() {
        f32::from_bits(0x7fc0_0000)
    } else {
        v
    }
}

/// The smaller of two; NaN if either is one; -0 is below +0.
#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if a == b {
        f32::from_bits(a.to_bits() | b.to_bits())
    } else if a < b {
        a
    } else {
        b
    }
}

#[derive(Clone, Copy)]
struct Extremes {
    min: f32,
    max: f32,
    magnitude: f32,
}

impl Extremes {
    const NONE: Self = Self {
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
        magnitude: 0.0,
    };

    #[inline(always)]
    fn with(self, v: f32) -> Self {
        Self {
            min: smaller(self.min, v),
            max: -smaller(-self.max, -v),
            magnitude: -smaller(-self.magnitude, -v.abs()),
        }
    }
}

unsafe fn scalar_row(x: *const f32, n: usize, so_far: Extremes) -> Extremes {
    (0..n).fold(so_far, |e, i| e.with(*x.add(i)))
}

/// The first value of a magnitude, four elements at a time.
#[cfg(target_arch = "wasm32")]
unsafe fn first_of(x: *const f32, n: usize, magnitude: f32) -> Option<f32> {
    use core::arch::wasm32::*;
    let wanted = f32x4_splat(magnitude);
    let whole = n / 4 * 4;
    for i in (0..whole).step_by(4) {
        let found = i32x4_bitmask(f32x4_eq(f32x4_abs(crate::lanes::load(x.add(i))), wanted));
        if found != 0 {
            return Some(*x.add(i + found.trailing_zeros() as usize));
        }
    }
    first_of_scalar(x.add(whole), n - whole, magnitude)
}

#[cfg(not(target_arch = "wasm32"))]
use first_of_scalar as first_of;

unsafe fn first_of_scalar(x: *const f32, n: usize, magnitude: f32) -> Option<f32> {
    (0..n).map(|i| *x.add(i)).find(|v| v.abs() == magnitude)
}

#[inline(always)]
unsafe fn each_tile(
    row: impl Fn(*const f32, usize, Extremes) -> Extremes,
    x: *const f32,
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    min: *mut f32,
    max: *mut f32,
    extreme: *mut f32,
    begin: usize,
    end: usize,
) {
    for t in begin..end {
        let (top, bottom) = (t * tile_rows, ((t + 1) * tile_rows).min(rows));
        for g in 0..grid_columns {
            let first = g * tile_columns;
            let n = tile_columns.min(columns - first);
            let at = |r: usize| x.add(r * columns + first);
            let e = (top..bottom).fold(Extremes::NONE, |e, r| row(at(r), n, e));
            let tile = t * grid_columns + g;
            if !min.is_null() {
                *min.add(tile) = canonical(e.min);
            }
            if !max.is_null() {
                *max.add(tile) = canonical(e.max);
            }
            if !extreme.is_null() {
                let found = (top..bottom).find_map(|r| first_of(at(r), n, e.magnitude));
                *extreme.add(tile) = canonical(found.unwrap_or(f32::NAN));
            }
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    min: *mut f32,
    max: *mut f32,
    extreme: *mut f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    each_tile(
        |x, n, e| scalar_row(x, n, e),
        x,
        rows,
        columns,
        tile_rows,
        tile_columns,
        grid_columns,
        min,
        max,
        extreme,
        begin,
        end,
    );
}

/// Four elements at a time: extremes do not depend on the order.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    min: *mut f32,
    max: *mut f32,
    extreme: *mut f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::load;
    use core::arch::wasm32::*;
    let reduce = |v: v128, f: fn(v128, v128) -> v128| {
        let v = f(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(f(v, i32x4_shuffle::<1, 0, 3, 2>(v, v)))
    };
    // pmin and pmax are one comparison each; what they do not do is left to the definition: NaNs,
    // which are looked for beside them, and the order of -0 and 0, which decides when both are 0.
    let row = |x: *const f32, n: usize, e: Extremes| {
        let whole = n / 4 * 4;
        let mut low = f32x4_splat(e.min);
        let mut high = f32x4_splat(e.max);
        let mut nan = f32x4_splat(0.0);
        for i in (0..whole).step_by(4) {
            let v = load(x.add(i));
            low = f32x4_pmin(low, v);
            high = f32x4_pmax(high, v);
            nan = v128_or(nan, f32x4_ne(v, v));
        }
        let (min, max) = (reduce(low, f32x4_pmin), reduce(high, f32x4_pmax));
        if v128_any_true(nan) || min == 0.0 || max == 0.0 {
            return scalar_row(x, n, e);
        }
        let magnitude = -smaller(-e.magnitude, -max.max(-min));
        scalar_row(
            x.add(whole),
            n - whole,
            Extremes {
                min,
                max,
                magnitude,
            },
        )
    };
    each_tile(
        row,
        x,
        rows,
        columns,
        tile_rows,
        tile_columns,
        grid_columns,
        min,
        max,
        extreme,
        begin,
        end,
    );
}
