//! Real numbers to codes. Parallel over rows of the matrix.

use crate::encoder::Encoder;

/// Fills the index over the top 12 bits (4097 entries); returns the halvings that remain.
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn step_index(thresholds: *const u32, count: usize, index: *mut u16) -> u32 {
    let mut below = 0;
    let mut most = 0;
    for bucket in 0..4096u32 {
        let first = below;
        unsafe { *index.add(bucket as usize) = first as u16 };
        while below < count && unsafe { *thresholds.add(below) } >> 20 == bucket {
            below += 1;
        }
        most = most.max(below - first);
    }
    usize::BITS - most.leading_zeros()
}

/// One run of elements of one tile.
unsafe fn scalar_run(
    e: &Encoder,
    x: *const f32,
    codes: *mut u8,
    n: usize,
    scale: Option<f32>,
    zero: f32,
) {
    let operand = scale.map(|s| e.operand(s));
    for i in 0..n {
        let v = match operand {
            Some(operand) => e.apply(*x.add(i), operand),
            None => *x.add(i),
        };
        *codes.add(i) = e.code(v, zero);
    }
}

#[inline(always)]
unsafe fn each_run(
    run: impl Fn(*const f32, *mut u8, usize, Option<f32>, f32),
    x: *const f32,
    codes: *mut u8,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    scales: *const f32,
    zeros: *const f32,
    begin: usize,
    end: usize,
) {
    for r in begin..end {
        for g in 0..grid_columns {
            let first = g * tile_columns;
            let n = tile_columns.min(columns - first);
            let tile = r / tile_rows * grid_columns + g;
            let at = r * columns + first;
            let scale = if scales.is_null() {
                None
            } else {
                Some(*scales.add(tile))
            };
            let zero = if zeros.is_null() {
                0.0
            } else {
                *zeros.add(tile)
            };
            run(x.add(at), codes.add(at), n, scale, zero);
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    codes: *mut u8,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    scales: *const f32,
    zeros: *const f32,
    reciprocal: u32,
    kind: u32,
    min: f32,
    max: f32,
    mask: u32,
    bias: f32,
    shift: u32,
    thresholds: *const u32,
    step_codes: *const u8,
    index: *const u16,
    depth: u32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let steps = (thresholds, step_codes, index, depth);
    let e = Encoder::new(reciprocal, kind, [min, max, bias], [mask, shift], steps);
    each_run(
        |x, codes, n, scale, zero| scalar_run(&e, x, codes, n, scale, zero),
        x,
        codes,
        columns,
        tile_rows,
        tile_columns,
        grid_columns,
        scales,
        zeros,
        begin,
        end,
    );
}

#[cfg(target_arch = "wasm32")]
pub use wide::simd;

#[cfg(target_arch = "wasm32")]
pub mod wide {
    use super::*;
    use crate::encoder::wide::keys4;
    use crate::lanes::{load, narrow_words};
    use core::arch::wasm32::*;

    #[inline(always)]
    unsafe fn scaled16(e: &Encoder, x: *const f32, operand: Option<v128>) -> [v128; 4] {
        let v = [load(x), load(x.add(4)), load(x.add(8)), load(x.add(12))];
        match operand {
            Some(o) => v.map(|v| e.apply4(v, o)),
            None => v,
        }
    }

    unsafe fn integer_run(
        e: &Encoder,
        x: *const f32,
        codes: *mut u8,
        n: usize,
        scale: Option<f32>,
        zero: f32,
    ) {
        let operand = scale.map(|s| f32x4_splat(e.operand(s)));
        let zeros = f32x4_splat(zero);
        let whole = n / 16 * 16;
        for i in (0..whole).step_by(16) {
            let words = scaled16(e, x.add(i), operand).map(|v| e.integers4(v, zeros));
            v128_store(codes.add(i) as *mut v128, narrow_words(words));
        }
        scalar_run(e, x.add(whole), codes.add(whole), n - whole, scale, zero);
    }

    /// `Encoder::step` with an index and a depth that the compiler knows.
    #[inline(always)]
    unsafe fn step<const DEPTH: u32>(e: &Encoder, key: u32) -> u8 {
        let mut i = *e.index.add((key >> 20) as usize) as usize;
        for level in (0..DEPTH).rev() {
            let below = *e.thresholds.add(i + (1 << level) - 1) < key;
            i += (below as usize) << level;
        }
        *e.step_codes.add(i)
    }

    unsafe fn step_run<const DEPTH: u32>(
        e: &Encoder,
        x: *const f32,
        codes: *mut u8,
        n: usize,
        scale: Option<f32>,
        zero: f32,
    ) {
        let operand = scale.map(|s| f32x4_splat(e.operand(s)));
        let whole = n / 16 * 16;
        for i in (0..whole).step_by(16) {
            let keys: [u32; 16] = core::mem::transmute(scaled16(e, x.add(i), operand).map(keys4));
            for (j, key) in keys.into_iter().enumerate() {
                *codes.add(i + j) = if DEPTH == SEARCH {
                    e.step(key)
                } else {
                    step::<DEPTH>(e, key)
                };
            }
        }
        scalar_run(e, x.add(whole), codes.add(whole), n - whole, scale, zero);
    }

    /// Instead of a depth: search as deep as the encoder says.
    const SEARCH: u32 = 99;

    type Run = unsafe fn(&Encoder, *const f32, *mut u8, usize, Option<f32>, f32);

    fn run_of(e: &Encoder) -> Run {
        match (e.steps, e.index.is_null(), e.depth) {
            (false, _, _) => integer_run,
            (_, false, 0..=1) => step_run::<1>,
            (_, false, 2) => step_run::<2>,
            (_, false, 3) => step_run::<3>,
            _ => step_run::<SEARCH>,
        }
    }

    /// Sixteen elements at a time; steps are looked up one by one.
    pub unsafe fn simd(
        x: *const f32,
        codes: *mut u8,
        columns: usize,
        tile_rows: usize,
        tile_columns: usize,
        grid_columns: usize,
        scales: *const f32,
        zeros: *const f32,
        reciprocal: u32,
        kind: u32,
        min: f32,
        max: f32,
        mask: u32,
        bias: f32,
        shift: u32,
        thresholds: *const u32,
        step_codes: *const u8,
        index: *const u16,
        depth: u32,
        _scratch: *mut u8,
        begin: usize,
        end: usize,
    ) {
        let steps = (thresholds, step_codes, index, depth);
        let e = Encoder::new(reciprocal, kind, [min, max, bias], [mask, shift], steps);
        let run = run_of(&e);
        each_run(
            |x, codes, n, scale, zero| run(&e, x, codes, n, scale, zero),
            x,
            codes,
            columns,
            tile_rows,
            tile_columns,
            grid_columns,
            scales,
            zeros,
            begin,
            end,
        );
    }
}
