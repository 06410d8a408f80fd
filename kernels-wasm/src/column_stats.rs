//! `abs_max = max(abs_max, |x|)`, `abs_sum += |x|` (f64), rows ascending. A NaN never becomes the
//! maximum. Parallel over columns.

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    rows: usize,
    columns: usize,
    abs_max: *mut f32,
    abs_sum: *mut f64,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for c in begin..end {
        for r in 0..rows {
            let v = (*x.add(r * columns + c)).abs();
            if v > *abs_max.add(c) {
                *abs_max.add(c) = v;
            }
            *abs_sum.add(c) += v as f64;
        }
    }
}

/// Four columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    rows: usize,
    columns: usize,
    abs_max: *mut f32,
    abs_sum: *mut f64,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{load, load64, promote, store, store64};
    use core::arch::wasm32::*;
    let whole = begin + (end - begin) / 4 * 4;
    for c in (begin..whole).step_by(4) {
        let mut most = load(abs_max.add(c));
        let (mut low, mut high) = (load64(abs_sum.add(c)), load64(abs_sum.add(c + 2)));
        for r in 0..rows {
            let v = f32x4_abs(load(x.add(r * columns + c)));
            most = f32x4_pmax(most, v);
            let (v_low, v_high) = promote(v);
            low = f64x2_add(low, v_low);
            high = f64x2_add(high, v_high);
        }
        store(abs_max.add(c), most);
        store64(abs_sum.add(c), low);
        store64(abs_sum.add(c + 2), high);
    }
    scalar(x, rows, columns, abs_max, abs_sum, scratch, whole, end);
}
