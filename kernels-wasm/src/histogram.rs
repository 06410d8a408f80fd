//! Counts of values in bins of equal width over `[low, high]`; the last bin holds `high`. The bin is
//! `floor((v - low) * (bins / (high - low)))`, in f64. NaN and values outside are not counted.

use wasm_bindgen::prelude::wasm_bindgen;

/// Adds the counts of `n` values.
#[wasm_bindgen]
pub fn histogram(x: *const f32, n: usize, low: f64, high: f64, counts: *mut f64, bins: usize) {
    let factor = bins as f64 / (high - low);
    for i in 0..n {
        let v = unsafe { *x.add(i) } as f64;
        if v >= low && v <= high {
            let bin = ((v - low) * factor) as usize;
            unsafe { *counts.add(bin.min(bins - 1)) += 1.0 };
        }
    }
}
