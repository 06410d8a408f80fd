//! Inputs of `linear` in tiles of some tokens: `[tile][column][token of the tile]`, so that a kernel
//! reads them in one stream. Parallel over tiles.

/// Tokens of a tile; the last one may have fewer. More sums would not fit the registers.
pub const TILE: usize = 4;

/// Where an input is.
#[inline(always)]
pub fn at(token: usize, tokens: usize, column: usize, columns: usize) -> usize {
    let first = token / TILE * TILE;
    first * columns + column * TILE.min(tokens - first) + token - first
}

/// The definition.
pub unsafe fn scalar(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    columns: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for token in begin * TILE..(end * TILE).min(tokens) {
        for c in 0..columns {
            *y.add(at(token, tokens, c, columns)) = *x.add(token * columns + c);
        }
    }
}

/// Copying needs no vectors; the loop goes by column, so that writes are in order.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    x: *const f32,
    y: *mut f32,
    tokens: usize,
    columns: usize,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    for tile in begin..end {
        let first = tile * TILE;
        let count = TILE.min(tokens - first);
        let (from, to) = (x.add(first * columns), y.add(first * columns));
        for c in 0..columns {
            for t in 0..count {
                *to.add(c * count + t) = *from.add(t * columns + c);
            }
        }
    }
}
