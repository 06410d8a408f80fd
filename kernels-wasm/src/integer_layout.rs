//! Integer weights in panels of 16 output channels, the form that `linear_integer` multiplies by.
//!
//! The columns of every group (of those that share a scale) are padded with zeros to a multiple of
//! 8: a block. A block of a panel is 128 codes, packed as in `codes.rs`: lane `i` of code vector `v`
//! is row `4 (v % 4) + i / 4` of the panel and column `4 (v / 4) + i % 4` of the block, so that four
//! lanes hold four columns of one row.

use crate::codes::code_at;

/// Output channels of a panel.
pub const PANEL: usize = 16;

/// Where a row of a panel and a column of a block are: code vector and lane.
pub const fn position(row: usize, column: usize) -> (usize, usize) {
    (column / 4 * 4 + row / 4, row % 4 * 4 + column % 4)
}

/// Blocks of all groups.
pub fn blocks(columns: usize, group: usize, groups: usize) -> usize {
    group.div_ceil(8) * (groups - 1) + (columns - group * (groups - 1)).div_ceil(8)
}

/// The code of a row of a panel and a column of a block.
pub unsafe fn code_of(block: *const u8, row: usize, column: usize, bits: u32) -> i32 {
    let (vector, lane) = position(row, column);
    code_at(block, vector, lane, bits) as i32
}

/// Tokens of a tile.
pub const TILE: usize = 4;

/// Where an activation is, in codes: tiles of 4 tokens (the last may have fewer), in which 32 bits
/// of a token, 4 codes or 2 wide ones, follow those of the token before.
pub fn activation(token: usize, tokens: usize, column: usize, padded: usize, wide: bool) -> usize {
    let unit = if wide { 2 } else { 4 };
    let first = token / TILE * TILE;
    let count = TILE.min(tokens - first);
    first * padded + (column / unit * count + token - first) * unit + column % unit
}
