//! Real numbers to codes. Parallel over rows of the matrix.
//!
//! A number format reaches this file as an integer range (`rint`, zero point, clamp, mask) or as a
//! step function over the order-preserving key of f32.

/// A number format, compiled. Shared with `encode_feedback`.
#[derive(Clone, Copy)]
pub struct Encoder {
    /// Multiply by `1 / s` instead of dividing by s.
    pub reciprocal: bool,
    /// A step function; otherwise an integer range.
    pub steps: bool,
    /// How an integer range rounds.
    pub rounding: Rounding,
    pub min: f32,
    pub max: f32,
    pub mask: u32,
    /// Added before the floor of `Rounding::Floor`.
    pub bias: f32,
    /// Subtracted from an integer before the mask.
    pub shift: u32,
    /// Ascending thresholds, followed by at least `2^depth` entries of `u32::MAX`.
    pub thresholds: *const u32,
    /// The code of each step.
    pub step_codes: *const u8,
    /// For each value of the top 12 bits of a key, the number of thresholds below; or null.
    pub index: *const u16,
    /// Halvings that find the step among the thresholds that remain.
    pub depth: u32,
}

/// How a scaled value becomes an integer.
#[derive(Clone, Copy, PartialEq)]
pub enum Rounding {
    /// Nearest, ties to even.
    Even,
    /// Nearest, ties away from zero.
    Away,
    /// The floor of the value plus a bias.
    Floor,
}

/// The kinds of encoders as numbers: whether it is a step function, and the rounding.
pub fn kind(number: u32) -> (bool, Rounding) {
    match number {
        1 => (true, Rounding::Even),
        2 => (false, Rounding::Away),
        3 => (false, Rounding::Floor),
        _ => (false, Rounding::Even),
    }
}

/// The order-preserving unsigned key of the bits of an f32.
#[inline(always)]
pub fn key(v: f32) -> u32 {
    let bits = v.to_bits();
    if bits >> 31 == 0 {
        bits ^ 0x8000_0000
    } else {
        !bits
    }
}

impl Encoder {
    /// The factor or divisor that a scale stands for.
    #[inline(always)]
    pub fn operand(&self, scale: f32) -> f32 {
        if self.reciprocal {
            1.0 / scale
        } else {
            scale
        }
    }

    /// `x / s` or `x * (1 / s)`, with the operand of `s`.
    #[inline(always)]
    pub fn apply(&self, x: f32, operand: f32) -> f32 {
        if self.reciprocal {
            x * operand
        } else {
            x / operand
        }
    }

    /// The code of a scaled value.
    #[inline(always)]
    pub unsafe fn code(&self, v: f32, zero: f32) -> u8 {
        if self.steps {
            self.step(key(v))
        } else {
            let q = self.rounded(v) + zero;
            // written so that a NaN becomes the minimum, as pmax and pmin do
            let q = if self.min < q { q } else { self.min };
            let q = if q < self.max { q } else { self.max };
            ((q as i32 as u32).wrapping_sub(self.shift) & self.mask) as u8
        }
    }

    #[inline(always)]
    fn rounded(&self, v: f32) -> f32 {
        match self.rounding {
            Rounding::Even => libm::rintf(v),
            Rounding::Away => {
                let whole = libm::truncf(v);
                let away = if (v - whole).abs() >= 0.5 { 1.0 } else { 0.0 };
                whole + libm::copysignf(away, v)
            }
            Rounding::Floor => libm::floorf(v + self.bias),
        }
    }

    /// The code of the step that a key falls on: a binary search without branches.
    #[inline(always)]
    pub unsafe fn step(&self, key: u32) -> u8 {
        let mut i = if self.index.is_null() {
            0
        } else {
            *self.index.add((key >> 20) as usize) as usize
        };
        let mut half = (1usize << self.depth) >> 1;
        while half > 0 {
            i += if *self.thresholds.add(i + half - 1) < key {
                half
            } else {
                0
            };
            half >>= 1;
        }
        *self.step_codes.add(i)
    }
}

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
    let (steps, rounding) = self::kind(kind);
    let e = Encoder {
        reciprocal: reciprocal != 0,
        steps,
        rounding,
        min,
        max,
        mask,
        bias,
        shift,
        thresholds,
        step_codes,
        index,
        depth,
    };
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
    use crate::lanes::{load, narrow_words};
    use core::arch::wasm32::*;

    impl Encoder {
        /// Four scaled values.
        #[inline(always)]
        pub fn apply4(&self, x: v128, operand: v128) -> v128 {
            if self.reciprocal {
                f32x4_mul(x, operand)
            } else {
                f32x4_div(x, operand)
            }
        }

        /// Four codes of an integer range, as 32-bit integers.
        #[inline(always)]
        pub fn integers4(&self, v: v128, zero: v128) -> v128 {
            let q = f32x4_add(self.rounded4(v), zero);
            let q = f32x4_pmax(f32x4_splat(self.min), q);
            let q = f32x4_pmin(f32x4_splat(self.max), q);
            let q = i32x4_sub(i32x4_trunc_sat_f32x4(q), u32x4_splat(self.shift));
            v128_and(q, u32x4_splat(self.mask))
        }

        #[inline(always)]
        fn rounded4(&self, v: v128) -> v128 {
            match self.rounding {
                Rounding::Even => f32x4_nearest(v),
                Rounding::Away => {
                    let whole = f32x4_trunc(v);
                    let rest = f32x4_abs(f32x4_sub(v, whole));
                    let away = v128_and(f32x4_ge(rest, f32x4_splat(0.5)), f32x4_splat(1.0));
                    let sign = v128_and(v, u32x4_splat(0x8000_0000));
                    f32x4_add(whole, v128_or(away, sign))
                }
                Rounding::Floor => f32x4_floor(f32x4_add(v, f32x4_splat(self.bias))),
            }
        }
    }

    /// Four order-preserving keys.
    #[inline(always)]
    pub fn keys4(v: v128) -> v128 {
        v128_xor(v, v128_or(i32x4_shr(v, 31), u32x4_splat(0x8000_0000)))
    }

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
        let (steps, rounding) = super::kind(kind);
        let e = Encoder {
            reciprocal: reciprocal != 0,
            steps,
            rounding,
            min,
            max,
            mask,
            bias,
            shift,
            thresholds,
            step_codes,
            index,
            depth,
        };
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
