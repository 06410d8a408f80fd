//! `y = x W^T` with vector codebooks: a code of 8 to 16 bits names a vector of `dim` neighbouring
//! columns in a table; the entries of several tables are added, ascending, and multiplied by the
//! scale of the row and group, each step in f32. Then the order of `linear_dense`. Parallel over
//! panels of 16 output channels.
//!
//! Codes are `[book][rows][columns / dim]`, of one byte (`wide` 0) or two; tables
//! `[book][entries][dim]`; scales `[rows][groups]`.

use crate::linear_dense::sum;
use crate::panels::PANEL;
use crate::token_tiles::at;

/// The codes and tables of a weight.
#[derive(Clone, Copy)]
struct Books {
    codes: *const u8,
    wide: u32,
    books: usize,
    tables: *const f32,
    entries: usize,
    dim: usize,
    scales: *const f32,
    groups: usize,
    group: usize,
    rows: usize,
    /// Vectors of a row.
    vectors: usize,
}

impl Books {
    /// The vector of a book for a row, and the `vector`-th of its columns.
    #[inline(always)]
    unsafe fn vector(&self, book: usize, row: usize, vector: usize) -> *const f32 {
        let at = (book * self.rows + row) * self.vectors + vector;
        let code = if self.wide == 0 {
            *self.codes.add(at) as usize
        } else {
            (self.codes as *const u16).add(at).read_unaligned() as usize
        };
        self.tables.add((book * self.entries + code) * self.dim)
    }

    #[inline(always)]
    unsafe fn scale(&self, row: usize, column: usize) -> f32 {
        *self.scales.add(row * self.groups + column / self.group)
    }

    unsafe fn value(&self, row: usize, column: usize) -> f32 {
        let (vector, part) = (column / self.dim, column % self.dim);
        let mut value = *self.vector(0, row, vector).add(part);
        for book in 1..self.books {
            value += *self.vector(book, row, vector).add(part);
        }
        value * self.scale(row, column)
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    codes: *const u8,
    wide: u32,
    books: usize,
    tables: *const f32,
    entries: usize,
    dim: usize,
    scales: *const f32,
    groups: usize,
    group: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let w = Books {
        codes,
        wide,
        books,
        tables,
        entries,
        dim,
        scales,
        groups,
        group,
        rows,
        vectors: columns / dim,
    };
    for r in begin * PANEL..(end * PANEL).min(rows) {
        for t in 0..tokens {
            let input = |c: usize| *x.add(at(t, tokens, c, columns));
            *y.add(t * rows + r) = sum(columns, input, |c| w.value(r, c));
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use simd128::simd;

#[cfg(target_arch = "wasm32")]
mod simd128 {
    use super::*;
    use crate::lanes::{load, splat, store};
    use crate::linear_dense::{tile, CHUNK};
    use core::arch::wasm32::*;

    /// Four rows of a weight: where their codes start, and their scales of a group.
    struct Rows<'a> {
        w: &'a Books,
        codes: [*const u8; 4],
        scales: [v128; 4],
    }

    impl Rows<'_> {
        /// Two, or four, columns of a row: from `part` on in the vector `vector`.
        #[inline(always)]
        unsafe fn columns<const WIDTH: usize>(&self, i: usize, vector: usize, part: usize) -> v128 {
            let w = self.w;
            let find = |book: usize| {
                let codes = self.codes[i];
                let at = book * w.rows * w.vectors + vector;
                let code = if w.wide == 0 {
                    *codes.add(at) as usize
                } else {
                    (codes as *const u16).add(at).read_unaligned() as usize
                };
                let entry = w.tables.add((book * w.entries + code) * w.dim + part);
                match WIDTH {
                    2 => v128_load64_zero(entry as *const u64),
                    _ => load(entry),
                }
            };
            let sum = (1..w.books).fold(find(0), |sum, book| f32x4_add(sum, find(book)));
            f32x4_mul(sum, self.scales[i])
        }
    }

    /// Decodes `depth` columns from `first` on of the rows of a panel into `out` `[depth][16]`.
    #[inline(never)]
    unsafe fn decode_chunk<const WIDTH: usize>(
        w: &Books,
        panel: usize,
        first: usize,
        depth: usize,
        out: *mut f32,
    ) {
        let (shift, bytes) = (w.dim.trailing_zeros(), 1 + w.wide as usize);
        for quarter in (0..PANEL).step_by(4) {
            let row = |i: usize| (panel * PANEL + quarter + i).min(w.rows - 1);
            let mut group = first / w.group;
            let scales = |group: usize| {
                core::array::from_fn(|i| splat(w.scales.add(row(i) * w.groups + group)))
            };
            let mut rows = Rows {
                w,
                codes: core::array::from_fn(|i| w.codes.add(row(i) * w.vectors * bytes)),
                scales: scales(group),
            };
            let mut next = (group + 1) * w.group;
            for c in (first..first + depth).step_by(WIDTH) {
                if c == next {
                    group += 1;
                    next += w.group;
                    rows.scales = scales(group);
                }
                let (vector, part) = (c >> shift, c & (w.dim - 1));
                let v: [v128; 4] = core::array::from_fn(|i| rows.columns::<WIDTH>(i, vector, part));
                transpose::<WIDTH>(v, out.add((c - first) * PANEL + quarter));
            }
        }
    }

    /// Columns of four rows become parts of rows of `out` `[WIDTH][16]`.
    #[inline(always)]
    unsafe fn transpose<const WIDTH: usize>(v: [v128; 4], out: *mut f32) {
        let a = i32x4_shuffle::<0, 4, 1, 5>(v[0], v[1]);
        let b = i32x4_shuffle::<0, 4, 1, 5>(v[2], v[3]);
        store(out, i64x2_shuffle::<0, 2>(a, b));
        store(out.add(PANEL), i64x2_shuffle::<1, 3>(a, b));
        if WIDTH == 4 {
            let a = i32x4_shuffle::<2, 6, 3, 7>(v[0], v[1]);
            let b = i32x4_shuffle::<2, 6, 3, 7>(v[2], v[3]);
            store(out.add(2 * PANEL), i64x2_shuffle::<0, 2>(a, b));
            store(out.add(3 * PANEL), i64x2_shuffle::<1, 3>(a, b));
        }
    }

    /// Chunks of a panel are decoded to scratch, `[256][16]` f32, and multiplied there.
    pub unsafe fn simd(
        x: *const f32,
        y: *mut f32,
        tokens: usize,
        rows: usize,
        columns: usize,
        codes: *const u8,
        wide: u32,
        books: usize,
        tables: *const f32,
        entries: usize,
        dim: usize,
        scales: *const f32,
        groups: usize,
        group: usize,
        scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let w = Books {
            codes,
            wide,
            books,
            tables,
            entries,
            dim,
            scales,
            groups,
            group,
            rows,
            vectors: columns / dim,
        };
        let values = scratch as *mut f32;
        for panel in begin..end {
            let out = tile::Output::new(y, rows, panel);
            out.clear(tokens);
            for first in (0..columns).step_by(CHUNK) {
                let depth = CHUNK.min(columns - first);
                if dim == 2 {
                    decode_chunk::<2>(&w, panel, first, depth, values);
                } else {
                    decode_chunk::<4>(&w, panel, first, depth, values);
                }
                let inputs = tile::Inputs {
                    x,
                    tokens,
                    columns,
                    first,
                    depth,
                };
                tile::multiply_chunk(&inputs, values, &out);
            }
        }
    }
}
