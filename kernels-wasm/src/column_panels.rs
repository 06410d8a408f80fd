//! Rows of `gram` in panels of 16 columns: `[panel][row][16]`, so that a kernel reads a panel in one
//! stream. Columns beyond the matrix are zero. Parallel over panels.

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Where an entry is.
#[inline(always)]
pub fn at(row: usize, rows: usize, column: usize) -> usize {
    (column / PANEL * rows + row) * PANEL + column % PANEL
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    rows: usize,
    columns: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for c in begin * PANEL..end * PANEL {
        for r in 0..rows {
            *y.add(at(r, rows, c)) = if c < columns {
                *x.add(r * columns + c)
            } else {
                0.0
            };
        }
    }
}

/// Whole panels are copied 16 entries at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *mut f32,
    rows: usize,
    columns: usize,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let whole = end.min(columns / PANEL);
    for panel in begin..whole {
        for r in 0..rows {
            let from = x.add(r * columns + panel * PANEL);
            crate::lanes::copy16(from, y.add((panel * rows + r) * PANEL));
        }
    }
    if whole < end {
        scalar(x, y, rows, columns, scratch, whole.max(begin), end);
    }
}
