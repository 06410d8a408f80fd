//! Weights in panels of 16 output channels, the form that `linear` multiplies by.
//!
//! Dense: `[panel][column][16]` f32, rows beyond the matrix are zero.
//!
//! Packed: `[panel][ceil(columns / 8)]` groups of 8 columns, packed as in `codes.rs`: lane
//! `i` of code vector `k` is row `i` of the panel and column `k` of the group. So a shift and a mask
//! give the codes of 16 rows, in order.

use crate::codes::{code_at, place};
use wasm_bindgen::prelude::wasm_bindgen;

/// Output channels of a panel.
pub const PANEL: usize = 16;

/// Rows `[rows, columns]` into panels, the first of which starts at `out`.
#[wasm_bindgen]
pub fn dense_panels(data: *const f32, rows: usize, columns: usize, out: *mut f32) {
    for r in 0..rows {
        for c in 0..columns {
            let at = (r / PANEL * columns + c) * PANEL + r % PANEL;
            unsafe { *out.add(at) = *data.add(r * columns + c) };
        }
    }
}

/// Codes `[rows, columns]`, one a byte, each `^ flip`, into panels, the first of which starts at
/// `out` (zeroed).
#[wasm_bindgen]
pub fn packed_panels(
    codes: *const u8,
    rows: usize,
    columns: usize,
    bits: u32,
    flip: u8,
    out: *mut u8,
) {
    let groups = columns.div_ceil(8);
    let size = PANEL * bits as usize;
    for r in 0..rows {
        let panel = unsafe { out.add(r / PANEL * groups * size) };
        let row = unsafe { codes.add(r * columns) };
        for c in 0..columns {
            let group = unsafe { panel.add(c / 8 * size) };
            unsafe { place(group, c % 8, r % PANEL, *row.add(c) ^ flip, bits) };
        }
    }
}

/// The code of a row and column of a panel.
pub unsafe fn code_of(panel: *const u8, row: usize, column: usize, bits: u32) -> usize {
    code_at(
        panel.add(column / 8 * PANEL * bits as usize),
        column % 8,
        row,
        bits,
    ) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        for bits in 1..=8 {
            let (rows, columns) = (19usize, 21usize);
            let codes: Vec<u8> = (0..rows * columns)
                .map(|i| (i * 5 % (1 << bits)) as u8)
                .collect();
            let panel_bytes = columns.div_ceil(8) * PANEL * bits as usize;
            let mut out = vec![0u8; 2 * panel_bytes];
            packed_panels(codes.as_ptr(), rows, columns, bits, 0, out.as_mut_ptr());
            for r in 0..rows {
                for c in 0..columns {
                    let panel = unsafe { out.as_ptr().add(r / PANEL * panel_bytes) };
                    let code = unsafe { code_of(panel, r % PANEL, c, bits) };
                    assert_eq!(code, codes[r * columns + c] as usize);
                }
            }
        }
    }
}
