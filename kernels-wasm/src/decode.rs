//! Codes to real numbers: `(table[code] - zero) * scale`. Parallel over rows of the matrix.

/// One run of elements of one tile.
unsafe fn scalar_run(
    codes: *const u8,
    y: *mut f32,
    n: usize,
    table: *const f32,
    mask: usize,
    scale: Option<f32>,
    zero: Option<f32>,
) {
    for i in 0..n {
        let mut v = *table.add(*codes.add(i) as usize & mask);
        if let Some(zero) = zero {
            v -= zero;
        }
        if let Some(scale) = scale {
            v *= scale;
        }
        *y.add(i) = v;
    }
}

#[inline(always)]
unsafe fn each_run(
    run: impl Fn(*const u8, *mut f32, usize, Option<f32>, Option<f32>),
    codes: *const u8,
    y: *mut f32,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    scales: *const f32,
    zeros: *const f32,
    begin: usize,
    end: usize,
) {
    let entry = |p: *const f32, tile: usize| {
        if p.is_null() {
            None
        } else {
            Some(*p.add(tile))
        }
    };
    for r in begin..end {
        for g in 0..grid_columns {
            let first = g * tile_columns;
            let n = tile_columns.min(columns - first);
            let tile = r / tile_rows * grid_columns + g;
            let at = r * columns + first;
            run(
                codes.add(at),
                y.add(at),
                n,
                entry(scales, tile),
                entry(zeros, tile),
            );
        }
    }
}

/// The definition.
pub unsafe fn scalar(
    codes: *const u8,
    y: *mut f32,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    table: *const f32,
    mask: u32,
    scales: *const f32,
    zeros: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    each_run(
        |codes, y, n, scale, zero| scalar_run(codes, y, n, table, mask as usize, scale, zero),
        codes,
        y,
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

/// Sixteen codes at a time: tables of up to 16 entries by swizzle, larger ones by loads.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    codes: *const u8,
    y: *mut f32,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    grid_columns: usize,
    table: *const f32,
    mask: u32,
    scales: *const f32,
    zeros: *const f32,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    use crate::lanes::{store, Planes};
    use core::arch::wasm32::*;
    let mask = mask as usize;
    let planes = Planes::new(table, mask.min(15));
    each_run(
        |codes, y, n, scale, zero| {
            let whole = n / 16 * 16;
            for i in (0..whole).step_by(16) {
                let mut v = if mask < 16 {
                    planes.lookup(v128_and(
                        v128_load(codes.add(i) as *const v128),
                        u8x16_splat(mask as u8),
                    ))
                } else {
                    gather16(codes.add(i), table, mask)
                };
                if let Some(zero) = zero {
                    v = v.map(|v| f32x4_sub(v, f32x4_splat(zero)));
                }
                if let Some(scale) = scale {
                    v = v.map(|v| f32x4_mul(v, f32x4_splat(scale)));
                }
                for (j, v) in v.into_iter().enumerate() {
                    store(y.add(i + 4 * j), v);
                }
            }
            scalar_run(
                codes.add(whole),
                y.add(whole),
                n - whole,
                table,
                mask,
                scale,
                zero,
            );
        },
        codes,
        y,
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

/// The table entries of 16 codes.
#[cfg(target_arch = "wasm32")]
#[inline(always)]
pub unsafe fn gather16(
    codes: *const u8,
    table: *const f32,
    mask: usize,
) -> [core::arch::wasm32::v128; 4] {
    use core::arch::wasm32::f32x4;
    let value = |i: usize| *table.add(*codes.add(i) as usize & mask);
    core::array::from_fn(|j| {
        f32x4(
            value(4 * j),
            value(4 * j + 1),
            value(4 * j + 2),
            value(4 * j + 3),
        )
    })
}
