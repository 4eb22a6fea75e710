//! Rows for a linear probe of each place: a 1x1 convolution on frozen maps is a linear classifier of their pixels.

use umt_nn::{Array, NnError, kernels::nearest_source};

/// Some of the places of a batch of pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// `[places, sum of c]`, row-major.
    pub rows: Vec<f32>,
    /// The class of each place.
    pub labels: Vec<u32>,
    /// How many places each picture has, in the order of the batch.
    pub pictures: Vec<usize>,
}

/// At most `most` labelled places of each picture of `maps`, each `[n, h, w, c]`: the maps side by side, each
/// brought to the size of the largest by taking the nearest. Labels, `[n, height, width]` with `size` = `[height, width]`
/// and 255 for void, are shrunk to that size likewise. Which places are taken follows from the picture's id alone, so that
/// every encoder is probed at the same ones.
///
/// # Errors
/// No map, and shapes that do not fit each other.
pub fn sample_places(
    maps: &[Array],
    labels: &[u8],
    [height, width]: [usize; 2],
    ids: &[String],
    most: usize,
) -> Result<Places, NnError> {
    let mut chosen: Vec<(&Array, [usize; 2])> = Vec::new();
    for map in maps {
        match *map.shape() {
            [n, h, w, _] if n == ids.len() => chosen.push((map, [h, w])),
            ref other => return Err(NnError::shape("maps of a probe", format!("[{}, h, w, c]", ids.len()), other)),
        }
    }
    let Some([h, w]) = chosen.iter().map(|(_, size)| *size).max_by_key(|[h, w]| h * w) else {
        return Err(NnError::Unsupported("a probe of maps needs a map".into()));
    };
    if labels.len() != ids.len() * height * width {
        let expected = format!("{} maps of {:?}", ids.len(), [height, width]);
        return Err(NnError::shape("labels of a probe", expected, &[labels.len()]));
    }
    let mut places = Places::default();
    for (i, id) in ids.iter().enumerate() {
        let own = &labels[i * height * width..][..height * width];
        let order = umt_random::Permutation::new(umt_random::id_hash(id), "probe.places", 0, h * w);
        let mut taken = 0;
        for [y, x] in (0..h * w).map(|place| order.at(place)).map(|at| [at / w, at % w]) {
            let label = own[nearest_source(height, h, y) * width + nearest_source(width, w, x)];
            if taken == most {
                break;
            }
            if label == u8::MAX {
                continue;
            }
            for (map, [rows, columns]) in &chosen {
                let c = map.shape()[3];
                let at = (i * rows + nearest_source(*rows, h, y)) * columns + nearest_source(*columns, w, x);
                places.rows.extend_from_slice(&map.as_slice()[at * c..][..c]);
            }
            places.labels.push(u32::from(label));
            taken += 1;
        }
        places.pictures.push(taken);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_nearest_pixels_and_places_follow_the_id() {
        let fine: Vec<f32> = (0..2 * 4 * 6).map(|i| i as f32).collect();
        let coarse: Vec<f32> = (0..2 * 2 * 3 * 2).map(|i| 100.0 + i as f32).collect();
        let maps =
            [Array::from_slice(&[2, 4, 6, 1], &fine).unwrap(), Array::from_slice(&[2, 2, 3, 2], &coarse).unwrap()];
        // Labels of twice the size: class by row, the first column void.
        let labels: Vec<u8> = (0..2 * 8 * 12).map(|i| if i % 12 == 0 { 255 } else { (i / 12 % 8) as u8 }).collect();
        let ids = ["a".to_string(), "b".to_string()];
        let of = |ids: &[String], most| sample_places(&maps, &labels, [8, 12], ids, most);
        let all = of(&ids, 1000).unwrap();
        assert_eq!((all.labels.len(), &all.pictures[..]), (2 * 4 * 5, &[20, 20][..]));
        for (row, label) in all.rows.chunks_exact(3).zip(&all.labels) {
            let at = row[0] as usize;
            let (picture, y, x) = (at / 24, at % 24 / 6, at % 6);
            assert_eq!(*label as usize, 2 * y);
            let coarser = (picture * 6 + y / 2 * 3 + x / 2) * 2;
            assert_eq!(row[1..], coarse[coarser..coarser + 2]);
        }
        let some = of(&ids, 7).unwrap();
        assert_eq!((some.labels.len(), &some.pictures[..]), (14, &[7, 7][..]));
        let turned = ["b".to_string(), "a".to_string()];
        assert_ne!(some.rows[..21], of(&turned, 7).unwrap().rows[..21]);
        assert!(of(&ids[..1], 7).is_err());
        let refused = |maps: &[Array], size| sample_places(maps, &labels, size, &ids, 7).is_err();
        assert!(refused(&[], [8, 12]) && refused(&maps[..1], [8, 8]));
    }
}
