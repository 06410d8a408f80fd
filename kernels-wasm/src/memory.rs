//! Memory for the caller: zeroed, aligned to cache lines.

use std::alloc::{alloc_zeroed, dealloc, Layout};
use wasm_bindgen::prelude::wasm_bindgen;

/// Bytes of a cache line; every block starts on one.
const ALIGN: usize = 64;

/// A zeroed block of `bytes` bytes; null if there is no room.
#[wasm_bindgen]
pub fn block_alloc(bytes: usize) -> *mut u8 {
    match Layout::from_size_align(bytes.max(1), ALIGN) {
        Ok(layout) => unsafe { alloc_zeroed(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Gives a block of `block_alloc` back.
#[wasm_bindgen]
pub fn block_free(block: *mut u8, bytes: usize) {
    if let Ok(layout) = Layout::from_size_align(bytes.max(1), ALIGN) {
        unsafe { dealloc(block, layout) }
    }
}
