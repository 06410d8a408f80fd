//! The scalar definitions, on the machine that builds.

use core::ptr::{null, null_mut};
use lowbit_kernels as kernels;

fn encode_int(x: &[f32], scale: f32, zero: f32, reciprocal: bool) -> Vec<u8> {
    let mut codes = vec![0u8; x.len()];
    unsafe {
        kernels::encode::scalar(
            x.as_ptr(),
            codes.as_mut_ptr(),
            x.len(),
            1,
            x.len(),
            1,
            &scale,
            &zero,
            reciprocal as u32,
            0,
            -8.0,
            7.0,
            15,
            null(),
            null(),
            null(),
            0,
            null_mut(),
            0,
            1,
        );
    }
    codes
}

#[test]
fn integers_round_to_even_and_clamp() {
    let x = [
        0.5,
        1.5,
        2.5,
        -0.5,
        -1.5,
        100.0,
        -100.0,
        f32::NAN,
        f32::INFINITY,
    ];
    let codes = encode_int(&x, 1.0, 0.0, false);
    assert_eq!(codes, [0, 2, 2, 0, 14, 7, 8, 8, 7]);
    assert_eq!(encode_int(&[0.3, -0.3], 0.1, 1.0, true), [4, 14]);
}

#[test]
fn steps_count_the_thresholds_below() {
    let thresholds: Vec<u32> = [-1.0, 0.0, 2.0].map(kernels::encode::key).to_vec();
    let mut padded = thresholds.clone();
    padded.extend([u32::MAX; 8]);
    let mut index = vec![0u16; 4096];
    let depth = kernels::encode::step_index(padded.as_ptr(), 3, index.as_mut_ptr());
    let x = [-2.0f32, -1.0, -0.5, -0.0, 0.0, 1.0, 2.0, 3.0];
    for (index, depth) in [(index.as_ptr(), depth), (null(), 2)] {
        let mut codes = vec![0u8; x.len()];
        unsafe {
            kernels::encode::scalar(
                x.as_ptr(),
                codes.as_mut_ptr(),
                8,
                1,
                8,
                1,
                null(),
                null(),
                0,
                1,
                0.0,
                0.0,
                255,
                padded.as_ptr(),
                [10u8, 11, 12, 13].as_ptr(),
                index,
                depth,
                null_mut(),
                0,
                1,
            );
        }
        assert_eq!(codes, [10, 10, 11, 11, 11, 12, 12, 13]);
    }
}

#[test]
fn ranges_keep_the_first_extreme() {
    let x = [1.0f32, -3.0, 3.0, -0.0, 0.0, 0.0];
    let (mut min, mut max, mut extreme) = ([0f32; 2], [0f32; 2], [0f32; 2]);
    unsafe {
        kernels::range::scalar(
            x.as_ptr(),
            2,
            3,
            1,
            3,
            1,
            min.as_mut_ptr(),
            max.as_mut_ptr(),
            extreme.as_mut_ptr(),
            null_mut(),
            0,
            2,
        );
    }
    assert_eq!((min[0], max[0], extreme[0]), (-3.0, 3.0, -3.0));
    assert_eq!(min.map(f32::is_sign_negative), [true, true]);
    assert!(max[1].is_sign_positive() && extreme[1].is_sign_negative());
}

#[test]
fn a_packed_weight_equals_its_dense_values() {
    let (rows, columns, tokens) = (18usize, 300usize, 2usize);
    let codes: Vec<u8> = (0..rows * columns).map(|i| (i * 7 % 8) as u8).collect();
    let table: Vec<f32> = (0..8).map(|i| (i as f32).sqrt() - 1.0).collect();
    let mut packed = vec![0u8; 2 * columns.div_ceil(8) * 16 * 3];
    kernels::panels::packed_panels(codes.as_ptr(), rows, columns, 3, 0, packed.as_mut_ptr());
    let scales: Vec<f32> = (0..32).map(|i| 0.1 + i as f32 * 0.01).collect();
    let values: Vec<f32> = (0..rows * columns)
        .map(|i| (table[codes[i] as usize] - 0.0) * scales[i / columns])
        .collect();
    let mut dense = vec![0f32; 2 * columns * 16];
    kernels::panels::dense_panels(values.as_ptr(), rows, columns, dense.as_mut_ptr());
    let x: Vec<f32> = (0..tokens * columns)
        .map(|i| (i as f32 * 0.3).sin())
        .collect();
    let mut tiles = vec![0f32; x.len()];
    unsafe {
        kernels::token_tiles::scalar(
            x.as_ptr(),
            tiles.as_mut_ptr(),
            tokens,
            columns,
            null_mut(),
            0,
            1,
        );
    }
    let (mut a, mut b) = (vec![0f32; tokens * rows], vec![0f32; tokens * rows]);
    unsafe {
        kernels::linear_dense::scalar(
            tiles.as_ptr(),
            a.as_mut_ptr(),
            tokens,
            rows,
            columns,
            dense.as_ptr(),
            null_mut(),
            0,
            2,
        );
        kernels::linear_packed::scalar(
            tiles.as_ptr(),
            b.as_mut_ptr(),
            tokens,
            rows,
            columns,
            packed.as_ptr(),
            3,
            table.as_ptr(),
            0,
            0,
            scales.as_ptr(),
            null(),
            1,
            columns,
            null_mut(),
            0,
            2,
        );
    }
    assert_eq!(a, b);
    let exact: f64 = (0..columns).map(|c| x[c] as f64 * values[c] as f64).sum();
    assert!((a[0] as f64 - exact).abs() < 1e-4);
}

#[test]
fn cholesky_of_a_small_matrix() {
    // H = R R^T with R = [[2, 1], [0, 3]]
    let mut h = [5.0f64, 3.0, 3.0, 9.0];
    assert_eq!(
        kernels::cholesky::cholesky_diagonal(h.as_mut_ptr(), 2, 0, 2),
        1
    );
    assert_eq!([h[0], h[1], h[3]], [2.0, 1.0, 3.0]);
    kernels::cholesky::inverse_diagonal(h.as_mut_ptr(), 2, 0, 2);
    assert!((h[1] + 1.0 / 6.0).abs() < 1e-15);
    let mut bad = [1.0f64, 2.0, 2.0, 1.0];
    assert_eq!(
        kernels::cholesky::cholesky_diagonal(bad.as_mut_ptr(), 2, 0, 2),
        0
    );
}

#[test]
fn attention_of_equal_keys_is_the_mean_of_the_values() {
    let (q, k) = ([1.0f32, 2.0], [0.5f32, 0.5, 0.5, 0.5]);
    let v = [1.0f32, 10.0, 3.0, 20.0];
    let (mut y, mut scratch) = ([0f32; 2], [0f32; 2]);
    unsafe {
        kernels::attention::scalar(
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            y.as_mut_ptr(),
            1,
            1,
            1,
            1,
            2,
            1.0,
            scratch.as_mut_ptr() as *mut u8,
            0,
            1,
        );
    }
    assert_eq!(y, [2.0, 15.0]);
}
