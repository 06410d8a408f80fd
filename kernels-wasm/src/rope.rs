//! Rotary position embedding, pairs `(i, i + head_size / 2)`. Angles, sines and cosines in f64, the
//! rotation in f32. Parallel over rows.

/// Scratch: `head_size / 2` frequencies (f64), then as many cosines and sines (f32).
struct Tables {
    frequencies: *mut f64,
    cosines: *mut f32,
    sines: *mut f32,
    half: usize,
}

impl Tables {
    unsafe fn new(scratch: *mut u8, head_size: usize, theta: f64) -> Self {
        let half = head_size / 2;
        let frequencies = scratch as *mut f64;
        for i in 0..half {
            *frequencies.add(i) = libm::pow(theta, -2.0 * i as f64 / head_size as f64);
        }
        let cosines = frequencies.add(half) as *mut f32;
        Self {
            frequencies,
            cosines,
            sines: cosines.add(half),
            half,
        }
    }

    unsafe fn set_position(&self, position: f64) {
        for i in 0..self.half {
            let (sine, cosine) = libm::sincos(position * *self.frequencies.add(i));
            *self.cosines.add(i) = cosine as f32;
            *self.sines.add(i) = sine as f32;
        }
    }

    unsafe fn rotate(&self, head: *mut f32, from: usize) {
        for i in from..self.half {
            let (a, b) = (*head.add(i), *head.add(i + self.half));
            let (c, s) = (*self.cosines.add(i), *self.sines.add(i));
            *head.add(i) = a * c - b * s;
            *head.add(i + self.half) = b * c + a * s;
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    x: *mut f32,
    heads: usize,
    head_size: usize,
    position: f64,
    theta: f64,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    let tables = Tables::new(scratch, head_size, theta);
    for r in begin..end {
        tables.set_position(position + r as f64);
        for h in 0..heads {
            tables.rotate(x.add((r * heads + h) * head_size), 0);
        }
    }
}

/// Four pairs at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *mut f32,
    heads: usize,
    head_size: usize,
    position: f64,
    theta: f64,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{load, store};
    use core::arch::wasm32::*;
    let tables = Tables::new(scratch, head_size, theta);
    let (half, whole) = (tables.half, tables.half / 4 * 4);
    for r in begin..end {
        tables.set_position(position + r as f64);
        for h in 0..heads {
            let head = x.add((r * heads + h) * head_size);
            for i in (0..whole).step_by(4) {
                let (a, b) = (load(head.add(i)), load(head.add(i + half)));
                let (c, s) = (load(tables.cosines.add(i)), load(tables.sines.add(i)));
                store(head.add(i), f32x4_sub(f32x4_mul(a, c), f32x4_mul(b, s)));
                store(
                    head.add(i + half),
                    f32x4_add(f32x4_mul(b, c), f32x4_mul(a, s)),
                );
            }
            tables.rotate(head, whole);
        }
    }
}
