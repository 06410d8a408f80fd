//! The k-th smallest value without sorting: two counts over the halves of the order-preserving keys
//! of f32 (see `encode::key`). NaNs come after infinity, or, with a sign, before minus infinity.

use crate::encoder::key;
use wasm_bindgen::prelude::wasm_bindgen;

/// Values of half a key.
const HALF: usize = 1 << 16;

/// The value at position `k` (below n) in ascending order. `counts`: 65536 u32.
#[wasm_bindgen]
pub fn select(x: *const f32, n: usize, k: usize, counts: *mut u32) -> f32 {
    let counts = unsafe { core::slice::from_raw_parts_mut(counts, HALF) };
    let keys = || (0..n).map(|i| key(unsafe { *x.add(i) }));
    counts.fill(0);
    keys().for_each(|key| counts[(key >> 16) as usize] += 1);
    let (high, rest) = find(counts, k as u32);
    counts.fill(0);
    keys()
        .filter(|key| key >> 16 == high)
        .for_each(|key| counts[(key & 0xffff) as usize] += 1);
    let (low, _) = find(counts, rest);
    let found = high << 16 | low;
    f32::from_bits(if found >> 31 != 0 {
        found ^ 0x8000_0000
    } else {
        !found
    })
}

/// The bin that holds position k, and the position within it.
fn find(counts: &[u32], mut k: u32) -> (u32, u32) {
    for (i, &count) in counts.iter().enumerate() {
        if k < count {
            return (i as u32, k);
        }
        k -= count;
    }
    (HALF as u32 - 1, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_sorting() {
        let x: Vec<f32> = (0..997)
            .map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 7.0)
            .collect();
        let mut sorted = x.clone();
        sorted.sort_by(f32::total_cmp);
        let mut counts = vec![0; HALF];
        for k in [0, 1, 500, 995, 996] {
            let value = select(x.as_ptr(), x.len(), k, counts.as_mut_ptr());
            assert_eq!(value, sorted[k]);
        }
    }
}
