//! Solves `L x = b` or `L^T x = b` in place, L lower triangular, for the columns of
//! `b` `[n, columns]`: rows ascending (descending for the transpose), and each solved row is
//! subtracted from the later ones at once. Parallel over panels of 8 columns.

use crate::vector64::{Plain, Vector};

/// Columns of a panel.
pub const PANEL: usize = 8;

unsafe fn panels<V: Vector>(
    l: *const f64,
    n: usize,
    b: *mut f64,
    columns: usize,
    transposed: u32,
    begin: usize,
    end: usize,
) {
    for panel in begin..end {
        let first = panel * PANEL;
        let width = PANEL.min(columns - first);
        let b = b.add(first);
        if transposed == 0 {
            for i in 0..n {
                let row = b.add(i * columns);
                for p in 0..i {
                    V::axpy(-*l.add(i * n + p), b.add(p * columns), row, width);
                }
                divide(row, *l.add(i * n + i), width);
            }
        } else {
            for i in (0..n).rev() {
                let row = b.add(i * columns);
                divide(row, *l.add(i * n + i), width);
                for p in 0..i {
                    V::axpy(-*l.add(i * n + p), row, b.add(p * columns), width);
                }
            }
        }
    }
}

unsafe fn divide(row: *mut f64, pivot: f64, width: usize) {
    for c in 0..width {
        *row.add(c) /= pivot;
    }
}

/// The definition.
pub unsafe fn scalar(
    l: *const f64,
    n: usize,
    b: *mut f64,
    columns: usize,
    transposed: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    panels::<Plain>(l, n, b, columns, transposed, begin, end);
}

/// By SIMD128.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    l: *const f64,
    n: usize,
    b: *mut f64,
    columns: usize,
    transposed: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    panels::<crate::vector64::Wide>(l, n, b, columns, transposed, begin, end);
}
