//! Weights as bit planes in panels of 16 output channels, for products by look-up:
//! `[panel][ceil(columns / 8)][plane][16]` bytes, byte r holding 8 columns of row r of the panel, the
//! first in its lowest bit. A nibble is then the index into a table over 4 activations.

use crate::panels::PANEL;
use wasm_bindgen::prelude::wasm_bindgen;

/// Activations that share a table.
pub const FOUR: usize = 4;
/// Panels of a unit: enough of them that the tables, made anew by every call, weigh little.
pub const UNIT: usize = 8;

/// Planes `[planes][rows][ceil(columns / 8)]` into panels at `out` (zeroed).
#[wasm_bindgen]
pub fn plane_panels(bits: *const u8, planes: usize, rows: usize, row_bytes: usize, out: *mut u8) {
    for plane in 0..planes {
        for r in 0..rows {
            for g in 0..row_bytes {
                let panel = (r / PANEL * row_bytes + g) * planes + plane;
                unsafe {
                    let byte = *bits.add((plane * rows + r) * row_bytes + g);
                    *out.add(panel * PANEL + r % PANEL) = byte;
                }
            }
        }
    }
}

/// The nibble of a row of a panel for the table `table` of a row of columns.
pub unsafe fn nibble(
    panel: *const u8,
    planes: usize,
    plane: usize,
    table: usize,
    r: usize,
) -> usize {
    let byte = *panel.add((table / 2 * planes + plane) * PANEL + r);
    (byte >> (4 * (table % 2)) & 15) as usize
}

/// Activation `c` of a row of `columns`; 0 beyond.
pub unsafe fn activation<T: Copy + Default>(x: *const T, columns: usize, c: usize) -> T {
    if c < columns {
        *x.add(c)
    } else {
        T::default()
    }
}
