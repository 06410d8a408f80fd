//! The second module: operations that gain by relaxed SIMD instructions. It works in the memory of
//! the first one, has no data of its own.
#![cfg_attr(target_arch = "wasm32", feature(asm_experimental_arch))]
#![cfg_attr(target_arch = "wasm32", no_std)]
#![allow(clippy::missing_safety_doc, clippy::too_many_arguments, dead_code)]

#[cfg(target_arch = "wasm32")]
mod codes;
#[cfg(target_arch = "wasm32")]
mod integer_layout;
#[cfg(target_arch = "wasm32")]
mod integer_products;
#[cfg(target_arch = "wasm32")]
mod lanes;
#[cfg(target_arch = "wasm32")]
mod linear_integer_simd;

/// See `linear_integer.rs`; only activations of bytes (`wide` = 0).
#[cfg(target_arch = "wasm32")]
#[no_mangle]
pub unsafe extern "C" fn linear_integer_relaxed(
    q: *const u8,
    wide: u32,
    x_scales: *const f32,
    per_group: u32,
    sums: *const i32,
    y: *mut f32,
    tokens: usize,
    rows: usize,
    columns: usize,
    codes: *const u8,
    bits: u32,
    table: *const u8,
    scales: *const f32,
    zeros: *const i16,
    minimums: *const f32,
    group: usize,
    groups: usize,
    scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    linear_integer_simd::simd(
        q, wide, x_scales, per_group, sums, y, tokens, rows, columns, codes, bits, table, scales,
        zeros, minimums, group, groups, scratch, begin, end,
    );
}

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
