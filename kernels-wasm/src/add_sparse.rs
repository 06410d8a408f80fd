//! `y[t, r] += sum_j v_j x[t, c_j]` over the entries of row r, ascending from 0, each step in f32.
//! Entries of row r are `starts[r] .. starts[r + 1]`. Parallel over rows of the weight. Loads by
//! index leave nothing for SIMD.

use wasm_bindgen::prelude::wasm_bindgen;

/// The operation.
#[wasm_bindgen]
pub fn add_sparse(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    starts: *const u32,
    indices: *const u32,
    values: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        let range = unsafe { *starts.add(r) as usize..*starts.add(r + 1) as usize };
        if range.is_empty() {
            continue;
        }
        for t in 0..tokens {
            unsafe {
                let x = x.add(t * columns);
                let sum = range.clone().fold(0f32, |sum, j| {
                    sum + *values.add(j) * *x.add(*indices.add(j) as usize)
                });
                *y.add(t * rows + r) += sum;
            }
        }
    }
}
