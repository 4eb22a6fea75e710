//! Rows for a linear probe of each place: a 1x1 convolution on frozen maps is a linear classifier of their pixels.

use super::parts::size;
use umt_nn::{
    Array, NnError, Tape,
    kernels::{Resize, nearest_source},
};

/// The maps of `stages` side by side, `[n, h, w, sum of c]`, each brought to the size of the largest by taking the nearest.
pub fn map_rows(maps: &[Array], stages: &[usize]) -> Result<Array, NnError> {
    let mut tape = Tape::eval();
    let mut chosen = Vec::new();
    for &stage in stages {
        match maps.get(stage) {
            Some(map) => chosen.push(tape.input(map.clone())),
            None => return Err(NnError::Setting(format!("no stage {stage}; there are {}", maps.len()))),
        }
    }
    let sizes: Vec<[usize; 2]> = chosen.iter().map(size).collect::<Result<_, _>>()?;
    let Some(&largest) = sizes.iter().max_by_key(|[h, w]| h * w) else {
        return Err(NnError::Setting("a probe of maps needs a stage".into()));
    };
    let same: Vec<_> = chosen.iter().map(|map| tape.resize(map, largest, Resize::Nearest)).collect::<Result<_, _>>()?;
    Ok(tape.concat(&same.iter().collect::<Vec<_>>())?.value().clone())
}

/// Some of the places of a batch of pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// `[places, c]`, row-major.
    pub rows: Vec<f32>,
    /// The class of each place.
    pub labels: Vec<u32>,
    /// How many places each picture has, in the order of the batch.
    pub pictures: Vec<usize>,
}

/// At most `most` labelled places of each picture of `rows` `[n, h, w, c]`: labels, `[n, height, width]` with `size` = `[height, width]` and 255 for
/// void, are shrunk to the map by taking the nearest. Which places are taken follows from the picture's id alone, so that every encoder is probed at
/// the same ones.
pub fn sample_rows(
    rows: &Array,
    labels: &[u8],
    size: [usize; 2],
    ids: &[String],
    most: usize,
) -> Result<Places, NnError> {
    let &[n, h, w, c] = rows.shape() else {
        return Err(NnError::shape("rows of a probe", "[n, h, w, c]", rows.shape()));
    };
    if ids.len() != n || labels.len() != n * size[0] * size[1] {
        return Err(NnError::shape("labels of a probe", format!("{n} maps of {size:?}"), &[ids.len(), labels.len()]));
    }
    let mut places = Places::default();
    for (i, id) in ids.iter().enumerate() {
        let map = &labels[i * size[0] * size[1]..][..size[0] * size[1]];
        let order = umt_random::Permutation::new(umt_random::id_hash(id), "probe.places", 0, h * w);
        let mut taken = 0;
        for at in (0..h * w).map(|place| order.at(place)) {
            let source = nearest_source(size[0], h, at / w) * size[1] + nearest_source(size[1], w, at % w);
            if taken == most {
                break;
            }
            if map[source] != u8::MAX {
                places.rows.extend_from_slice(&rows.as_slice()[(i * h * w + at) * c..][..c]);
                places.labels.push(u32::from(map[source]));
                taken += 1;
            }
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
        let rows = map_rows(&maps, &[0, 1]).unwrap();
        assert_eq!(rows.shape(), [2, 4, 6, 3]);
        // Row 3, column 4 of the second picture lies on row 1, column 2 of the coarse one.
        let at = (24 + 3 * 6 + 4) * 3;
        let expected = [fine[24 + 22], coarse[(6 + 5) * 2], coarse[(6 + 5) * 2 + 1]];
        assert_eq!(rows.as_slice()[at..at + 3], expected);
        assert!(map_rows(&maps, &[2]).is_err() && map_rows(&maps, &[]).is_err());

        // Labels of twice the size: class by row, the first column void.
        let labels: Vec<u8> = (0..2 * 8 * 12).map(|i| if i % 12 == 0 { 255 } else { (i / 12 % 8) as u8 }).collect();
        let ids = ["a".to_string(), "b".to_string()];
        let all = sample_rows(&rows, &labels, [8, 12], &ids, 1000).unwrap();
        assert_eq!(all.labels.len(), 2 * 4 * 5);
        for (row, label) in all.rows.chunks_exact(3).zip(&all.labels) {
            assert_eq!(*label, 2 * (row[0] as u32 % 24 / 6));
        }
        let some = sample_rows(&rows, &labels, [8, 12], &ids, 7).unwrap();
        assert_eq!((some.labels.len(), &some.pictures[..]), (14, &[7, 7][..]));
        let turned = ["b".to_string(), "a".to_string()];
        assert_ne!(some.rows[..21], sample_rows(&rows, &labels, [8, 12], &turned, 7).unwrap().rows[..21]);
        assert!(sample_rows(&rows, &labels, [8, 8], &ids, 7).is_err());
    }
}
