//! `y = (n - 2 popcount(x xor w)) * sx * sw` for operands of +1 (a set bit) and -1, packed eight a
//! byte; the count is exact, then two products in f32. Bits beyond the columns are ignored. Parallel
//! over rows of w.

unsafe fn tail(x: *const u8, w: *const u8, from: usize, columns: usize) -> u32 {
    let mut count = 0;
    for i in from..columns.div_ceil(8) {
        let left = columns - 8 * i;
        let valid = if left >= 8 { 255 } else { (1u8 << left) - 1 };
        count += ((*x.add(i) ^ *w.add(i)) & valid).count_ones();
    }
    count
}

unsafe fn run(
    count: unsafe fn(*const u8, *const u8, usize) -> u32,
    x: *const u8,
    x_scales: *const f32,
    w: *const u8,
    w_scales: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    begin: usize,
    end: usize,
) {
    let bytes = columns.div_ceil(8);
    let scale = |s: *const f32, i: usize| if s.is_null() { 1.0 } else { *s.add(i) };
    for r in begin..end {
        for t in 0..tokens {
            let different = count(x.add(t * bytes), w.add(r * bytes), columns);
            let dot = (columns as i32 - 2 * different as i32) as f32;
            *y.add(t * rows + r) = dot * scale(x_scales, t) * scale(w_scales, r);
        }
    }
}

unsafe fn count(x: *const u8, w: *const u8, columns: usize) -> u32 {
    tail(x, w, 0, columns)
}

/// The definition.
pub unsafe fn scalar(
    x: *const u8,
    x_scales: *const f32,
    w: *const u8,
    w_scales: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    run(
        count, x, x_scales, w, w_scales, y, tokens, rows, columns, begin, end,
    );
}

/// 128 columns at a time.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const u8,
    x_scales: *const f32,
    w: *const u8,
    w_scales: *const f32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    run(
        count128, x, x_scales, w, w_scales, y, tokens, rows, columns, begin, end,
    );
}

#[cfg(target_arch = "wasm32")]
unsafe fn count128(x: *const u8, w: *const u8, columns: usize) -> u32 {
    use core::arch::wasm32::*;
    let whole = columns / 128 * 16;
    let mut sum = i32x4_splat(0);
    for i in (0..whole).step_by(16) {
        let a = v128_load(x.add(i) as *const v128);
        let b = v128_load(w.add(i) as *const v128);
        let ones = u16x8_extadd_pairwise_u8x16(u8x16_popcnt(v128_xor(a, b)));
        sum = i32x4_add(sum, u32x4_extadd_pairwise_u16x8(ones));
    }
    let lanes: [u32; 4] = core::mem::transmute(sum);
    lanes.iter().sum::<u32>() + tail(x, w, whole, columns)
}
