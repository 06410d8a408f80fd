//! Makes the panels of `integer_layout.rs`.

use crate::codes::place;
use crate::integer_layout::{blocks, position, PANEL};
use wasm_bindgen::prelude::wasm_bindgen;

/// Codes `[rows, columns]`, one a byte, into panels, the first of which starts at `out` (zeroed).
/// `values` `[256]` is the unsigned integer of every code.
#[wasm_bindgen]
pub fn integer_panels(
    codes: *const u8,
    rows: usize,
    columns: usize,
    group: usize,
    groups: usize,
    bits: u32,
    values: *const u8,
    out: *mut u8,
) {
    let size = PANEL * bits as usize;
    let panel_bytes = blocks(columns, group, groups) * size;
    for r in 0..rows {
        for c in 0..columns {
            let (g, inside) = (c / group, c % group);
            let block = g * group.div_ceil(8) + inside / 8;
            let (vector, lane) = position(r % PANEL, inside % 8);
            unsafe {
                let value = *values.add(*codes.add(r * columns + c) as usize);
                let at = out.add(r / PANEL * panel_bytes + block * size);
                place(at, vector, lane, value, bits);
            }
        }
    }
}
