use super::*;

fn augment() -> AugmentConfig {
    AugmentConfig { flip: 0.5, scale: [1.0, 1.4], hsv: 0.1, ..AugmentConfig::default() }
}

fn whole(size: [usize; 2]) -> SceneChoice {
    SceneChoice::new(size, &augment(), None)
}

const PLAIN: ([f32; 3], [f32; 3]) = ([1.0; 3], [0.0; 3]);

fn rgb(stored: &[u8], shape: [usize; 2], choice: &SceneChoice) -> Vec<f32> {
    let mut out = vec![-1.0; choice.size[0] * choice.size[1] * 3];
    RgbWriter::default().write(stored, shape, choice, PLAIN, &mut out);
    out
}

#[test]
fn choices_are_keyed_and_reach_their_whole_range() {
    let size = [40, 30];
    let draw = |epoch| SceneChoice::new(size, &augment(), Some((1, epoch, 9)));
    assert_eq!(draw(3), draw(3));
    let drawn: Vec<SceneChoice> = (0..500).map(draw).collect();
    let flips = drawn.iter().filter(|c| c.flip).count();
    assert!((200..300).contains(&flips), "{flips}");
    let widths = drawn.iter().map(|c| c.scaled[0]);
    assert_eq!((widths.clone().min(), widths.max()), (Some(40), Some(56)));
    for choice in &drawn {
        for axis in [0, 1] {
            assert!(choice.at[axis] + size[axis] <= choice.scaled[axis]);
        }
        assert!(choice.hsv.unwrap().iter().all(|f| (0.9..1.1).contains(f)));
    }
    assert!(drawn.iter().any(|c| c.at[0] + size[0] == c.scaled[0] && c.at[0] > 10));
    let fixed = AugmentConfig { crop: false, scale: [1.2, 1.2], ..AugmentConfig::default() };
    let fixed = SceneChoice::new(size, &fixed, Some((1, 0, 9)));
    assert_eq!((fixed.scaled, fixed.at, fixed.hsv), ([48, 36], [4, 3], None));
}

#[test]
fn evaluation_at_the_stored_size_changes_nothing() {
    let stored: Vec<u8> = (0..6 * 4 * 3).map(|v| (v * 37 % 256) as u8).collect();
    let values: Vec<f32> = stored.iter().copied().map(f32::from).collect();
    assert_eq!(rgb(&stored, [4, 6], &whole([6, 4])), values);
    let depth: Vec<u16> = (0..24).map(|v| v * 100).collect();
    let mut out = vec![0; 24];
    write_nearest(&depth, [4, 6], &whole([6, 4]), |mm| mm, &mut out);
    assert_eq!(out, depth);
}

#[test]
fn picture_depth_and_classes_are_read_at_one_place() {
    // Colour, depth and class all say which column and row of the scene they come from.
    let (width, height) = (64usize, 48usize);
    let place = |at: usize| (at % width, at / width);
    let stored: Vec<u8> =
        (0..width * height).flat_map(|at| [place(at).0 as u8 * 2, place(at).1 as u8 * 2, 0]).collect();
    let map: Vec<u8> = (0..width * height).map(|at| place(at).0 as u8).collect();
    // The depth is stored at half the size.
    let depth: Vec<u16> = (0..32 * 24).map(|at| (at / 32) as u16 * 2).collect();
    for epoch in 0..50 {
        let plain = AugmentConfig { hsv: 0.0, ..augment() };
        let choice = SceneChoice::new([32, 24], &plain, Some((5, epoch, 1)));
        let colours = rgb(&stored, [height, width], &choice);
        let (mut classes, mut depths) = (vec![0; 32 * 24], vec![0; 32 * 24]);
        write_nearest(&map, [height, width], &choice, |class| class, &mut classes);
        write_nearest(&depth, [24, 32], &choice, |mm| mm, &mut depths);
        for at in 0..32 * 24 {
            let (x, y) = (colours[at * 3] / 2.0, colours[at * 3 + 1] / 2.0);
            assert!((x - f32::from(classes[at])).abs() <= 1.0, "{x} {}", classes[at]);
            assert!((y - f32::from(depths[at])).abs() <= 2.0, "{y} {}", depths[at]);
        }
        let rising = classes[20] > classes[10];
        assert_eq!(rising, !choice.flip);
    }
}

#[test]
fn a_mirrored_scene_is_the_mirror_of_the_scene() {
    let stored: Vec<u8> = (0..20 * 10 * 3).map(|v| (v * 91 % 256) as u8).collect();
    let mut choice = SceneChoice { scaled: [26, 13], at: [3, 2], ..whole([20, 10]) };
    let plain = rgb(&stored, [10, 20], &choice);
    choice.flip = true;
    let mirrored = rgb(&stored, [10, 20], &choice);
    for (a, b) in plain.chunks(60).zip(mirrored.chunks(60)) {
        let turned: Vec<f32> = b.chunks(3).rev().flatten().copied().collect();
        assert_eq!(a, turned);
    }
}

#[test]
fn hue_saturation_and_value_are_multiplied() {
    // By hand: (200, 100, 50) has hue 20 degrees, saturation 0.75, value 200.
    let mut row = vec![200.0, 100.0, 50.0];
    change_colours(&mut row, 1, [1.0, 1.0, 1.0]);
    assert!((row[0] - 200.0).abs() < 1e-3 && (row[1] - 100.0).abs() < 1e-3 && (row[2] - 50.0).abs() < 1e-3, "{row:?}");
    // Hue 40 degrees, the others as they were: green rises to 50 + 150 * 2/3.
    change_colours(&mut row, 1, [2.0, 1.0, 1.0]);
    assert!((row[0] - 200.0).abs() < 1e-3 && (row[1] - 150.0).abs() < 1e-3 && (row[2] - 50.0).abs() < 1e-3, "{row:?}");
    // Half the saturation lifts the least, half the value halves all.
    let mut row = vec![200.0, 100.0, 50.0];
    change_colours(&mut row, 1, [1.0, 0.5, 0.5]);
    assert!((row[0] - 100.0).abs() < 1e-3 && (row[2] - 62.5).abs() < 1e-3, "{row:?}");
    // Cut off, not wrapped; grey and black stay.
    let mut row = vec![250.0, 0.0, 128.0, 0.0, 240.0, 0.0, 128.0, 0.0, 240.0, 0.0, 128.0, 0.0];
    change_colours(&mut row, 4, [1.1, 1.1, 1.1]);
    assert!(row.iter().all(|v| (0.0..=255.0).contains(v)), "{row:?}");
    assert_eq!([row[1], row[5], row[9]], [0.0; 3]);
    assert!((row[2] - 140.8).abs() < 1e-3 && row[2] == row[6] && row[6] == row[10]);
}
