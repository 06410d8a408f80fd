//! The scalar definitions of look-up products, caches and factors at their limits, with overflow
//! checks.

use core::ptr::{null, null_mut};
use lowbit_kernels as kernels;

#[test]
fn sums_of_int8_stay_in_range_at_the_limit() {
    // 128 * columns * (sum of factors + offset) just below 2^31
    let columns = 4096;
    let x = vec![-128i8; columns];
    let row_bytes = columns / 8;
    let bits = vec![255u8; 3 * row_bytes];
    let mut panels = vec![0u8; 3 * row_bytes * 16];
    kernels::planes::plane_panels(bits.as_ptr(), 3, 1, row_bytes, panels.as_mut_ptr());
    let factors = [1i32, 2, -4];
    let mut y = [0i32];
    unsafe {
        kernels::linear_planes_int::scalar(
            x.as_ptr(),
            y.as_mut_ptr(),
            1,
            1,
            columns,
            panels.as_ptr(),
            3,
            factors.as_ptr(),
            4000,
            null_mut(),
            0,
            1,
        );
    }
    assert_eq!(y[0], -128 * 4096 * (4000 - 1));
}

#[test]
fn six_bit_floats_are_multiples_of_their_unit() {
    use kernels::linear_fp6::multiple;
    assert_eq!(
        [0, 1, 3, 4, 31].map(|code| multiple(code, 2)),
        [0, 1, 3, 4, 448]
    );
    assert_eq!(
        [0, 1, 7, 8, 31].map(|code| multiple(code, 3)),
        [0, 1, 7, 8, 60]
    );
    assert_eq!(multiple(32 + 31, 2), -448);
}

#[test]
fn a_cache_holds_the_extremes_of_a_group() {
    let x = [-1.0f32, 2.0, 0.5, 0.0, 7.0, 7.0, 7.0, 7.0];
    let (mut bytes, mut scales, mut minima) = ([0u8; 2], [0f32; 2], [0f32; 2]);
    kernels::cache_encode::cache_encode(
        x.as_ptr(),
        1,
        8,
        1,
        4,
        2,
        bytes.as_mut_ptr(),
        scales.as_mut_ptr(),
        minima.as_mut_ptr(),
    );
    assert_eq!((scales, minima), ([1.0, 0.0], [-1.0, 7.0]));
    // codes 0, 3, 2 (1.5 to even), 1; then zeros
    assert_eq!(bytes, [3 << 2 | 2 << 4 | 1 << 6, 0]);
}

#[test]
fn conversions_clamp_and_keep_their_order() {
    let x = [1e9f32, -1e9, 0.5, 1.5, f32::NAN, -0.5];
    let mut y = [0u8; 6];
    let convert = |x: *const u8, y: &mut [u8], kind: u32, units: usize| unsafe {
        kernels::convert::scalar(x, y.as_mut_ptr(), kind, 1.0, null_mut(), 0, units)
    };
    convert(x.as_ptr() as *const u8, &mut y, 0, 6);
    assert_eq!(y.map(|v| v as i8), [127, -128, 0, 2, 0, 0]);
    let mut pair = [0u8; 2];
    convert([0x9f].as_ptr(), &mut pair, 3, 1);
    assert_eq!(pair.map(|v| v as i8), [-1, -7]);
    convert([0x9f].as_ptr(), &mut pair, 4, 1);
    assert_eq!(pair.map(|v| v as i8), [-16, -112]);
}

#[test]
fn a_reflector_leaves_one_entry() {
    let mut x = [3.0f64, 0.0, 4.0];
    let mut beta = 0.0;
    let left = kernels::tridiagonal::householder(x.as_mut_ptr(), 3, &mut beta);
    assert!((left + 5.0).abs() < 1e-15);
    let dot: f64 = x.iter().zip([3.0, 0.0, 4.0]).map(|(u, v)| u * v).sum();
    let image: Vec<f64> = x
        .iter()
        .zip([3.0, 0.0, 4.0])
        .map(|(u, v)| v - beta * dot * u)
        .collect();
    assert!((image[0] + 5.0).abs() < 1e-14 && image[2].abs() < 1e-14);
    let mut alone = [2.0f64, 0.0];
    let left = kernels::tridiagonal::householder(alone.as_mut_ptr(), 2, &mut beta);
    assert_eq!((left, beta), (2.0, 0.0));
}

#[test]
fn eigenvalues_of_a_small_matrix() {
    let (mut d, mut e) = ([2.0f64, 2.0, 2.0], [-1.0f64, -1.0, 0.0]);
    let (mut state, mut rotations) = ([3.0f64, 0.0], vec![0f64; 3 * 100]);
    let count = kernels::tridiagonal_qr::tridiagonal_qr(
        d.as_mut_ptr(),
        e.as_mut_ptr(),
        3,
        state.as_mut_ptr(),
        rotations.as_mut_ptr(),
        100,
    );
    assert!(count > 0 && state[0] < 2.0);
    d.sort_by(f64::total_cmp);
    let root = 2f64.sqrt();
    for (found, exact) in d.iter().zip([2.0 - root, 2.0, 2.0 + root]) {
        assert!((found - exact).abs() < 1e-14);
    }
}

#[test]
fn signs_without_scales_count_exactly() {
    let (x, w) = ([0b1010_1010u8, 0b1111_1111], [0b1010_1010u8, 0b0000_0001]);
    let mut y = [0f32];
    unsafe {
        kernels::linear_binary::scalar(
            x.as_ptr(),
            null(),
            w.as_ptr(),
            null(),
            y.as_mut_ptr(),
            1,
            1,
            10,
            null_mut(),
            0,
            1,
        );
    }
    // of ten columns the last differs
    assert_eq!(y[0], 8.0);
}
