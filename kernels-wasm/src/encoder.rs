//! A number format, compiled: an integer range (rounding, zero point, clamp, mask), or a step function
//! over the order-preserving key of f32. Shared by `encode` and `encode_feedback`.

/// A number format, compiled.
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
    /// From the arguments of an entry point; `kind` says whether it is a step function (1), or how an
    /// integer range rounds: to even (0), away from zero (2), down (3).
    pub fn new(
        reciprocal: u32,
        kind: u32,
        [min, max, bias]: [f32; 3],
        [mask, shift]: [u32; 2],
        (thresholds, step_codes, index, depth): (*const u32, *const u8, *const u16, u32),
    ) -> Self {
        let rounding = match kind {
            2 => Rounding::Away,
            3 => Rounding::Floor,
            _ => Rounding::Even,
        };
        #[rustfmt::skip]
        return Self {
            reciprocal: reciprocal != 0, steps: kind == 1, rounding, min, max, mask, bias, shift,
            thresholds, step_codes, index, depth,
        };
    }

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

#[cfg(target_arch = "wasm32")]
pub mod wide {
    use super::*;
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
}
