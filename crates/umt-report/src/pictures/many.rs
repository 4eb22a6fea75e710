//! Pictures of more stages than colours: a row or a small panel for each, with its name beside it.

use super::{Area, BarGroup, COLOURS, Curve, Outcome, colour, draw, names_of};
use plotters::prelude::*;
use std::error::Error;

/// Whether so many are told apart by place instead of by colour.
pub(super) fn are_many(names: usize) -> bool {
    names > COLOURS.len() + 1
}

const COLUMNS: usize = 6;
/// Width and height of a small panel.
const PANEL: [u32; 2] = [230, 150];
const CAPTION: u32 = 34;

/// A small panel for each curve, in front of all the others in grey; a block of panels for each figure.
pub(super) fn curves(blocks: &[(&str, &[Curve])]) -> Outcome {
    let rows = |curves: &[Curve]| curves.len().div_ceil(COLUMNS).max(1);
    let height = |curves: &[Curve]| CAPTION + rows(curves) as u32 * PANEL[1];
    let all: u32 = blocks.iter().map(|(_, curves)| height(curves)).sum();
    draw((COLUMNS as u32 * PANEL[0], all), |area| {
        let mut rest = area.clone();
        for (title, curves) in blocks {
            let (block, below) = rest.split_vertically(height(curves));
            let (caption, grid) = block.split_vertically(CAPTION);
            caption.draw(&Text::new((*title).to_owned(), (14, 10), ("sans-serif", 18)))?;
            for (panel, own) in grid.split_evenly((rows(curves), COLUMNS)).iter().zip(*curves) {
                small(panel, own, curves)?;
            }
            rest = below;
        }
        Ok(())
    })
}

fn small(area: &Area<'_>, own: &Curve, others: &[Curve]) -> Result<(), Box<dyn Error>> {
    let all = || others.iter().flat_map(|c| &c.points);
    let last = all().map(|p| p.0).fold(1.0, f64::max);
    let high = all().map(|p| p.1).fold(0.0, f64::max).max(1e-6) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(&own.label, ("sans-serif", 13))
        .margin(4)
        .x_label_area_size(20)
        .y_label_area_size(34)
        .build_cartesian_2d(0.0..last, 0.0..high)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(4).y_labels(4).light_line_style(WHITE).label_style(("sans-serif", 11)).draw()?;
    for other in others {
        chart.draw_series(LineSeries::new(other.points.iter().copied(), BLACK.mix(0.1).stroke_width(1)))?;
    }
    chart.draw_series(LineSeries::new(own.points.iter().copied(), colour(0).stroke_width(3)))?;
    Ok(())
}

/// A row for each name, a panel for each group; a thin line shows how far the first row's bar reaches.
pub(super) fn rows(title: &str, of: &str, groups: &[BarGroup]) -> Outcome {
    let names = names_of(groups);
    let height = 100 + 22 * names.len() as u32;
    draw((620 * groups.len().max(1) as u32, height), |area| {
        for (panel, group) in area.split_evenly((1, groups.len().max(1))).iter().zip(groups) {
            row_panel(panel, &format!("{title} {}", group.label), of, &names, group)?;
        }
        Ok(())
    })
}

fn row_panel(area: &Area<'_>, title: &str, of: &str, names: &[&str], group: &BarGroup) -> Result<(), Box<dyn Error>> {
    let bars: Vec<(usize, f64, f64)> = (names.iter().enumerate())
        .filter_map(|(row, name)| group.bars.iter().find(|(n, ..)| n == name).map(|&(_, mean, std)| (row, mean, std)))
        .collect();
    let lowest = bars.iter().map(|b| b.1 - b.2).fold(0.0, f64::min);
    // As in the other pictures the axis starts at 0.
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(190)
        .build_cartesian_2d(lowest..1.0, names.len() as f64..0.0)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_y_mesh().y_labels(0).x_desc(of).light_line_style(WHITE).label_style(("sans-serif", 13)).draw()?;
    for &(row, mean, std) in &bars {
        let middle = row as f64 + 0.5;
        let shade = colour(if row == 0 { 1 } else { 0 });
        let bar = Rectangle::new([(0.0, middle - 0.36), (mean, middle + 0.36)], shade.filled());
        chart.draw_series([bar])?;
        chart.draw_series([PathElement::new([(mean - std, middle), (mean + std, middle)], BLACK.stroke_width(2))])?;
        let at = (mean + std + 0.012).min(0.93);
        let value = Text::new(format!("{:.1}", 100.0 * mean), (at, middle - 0.3), ("sans-serif", 12));
        chart.draw_series([value])?;
    }
    if let Some(&(0, mean, _)) = bars.first() {
        let line = PathElement::new([(mean, 0.0), (mean, names.len() as f64)], colour(1).stroke_width(1));
        chart.draw_series([line])?;
    }
    // The chart knows places on the whole picture, the panel on itself.
    let (left, top) = (area.get_pixel_range().0.start, area.get_pixel_range().1.start);
    for (row, name) in names.iter().enumerate() {
        let (_, y) = chart.backend_coord(&(0.0, row as f64 + 0.5));
        area.draw(&Text::new(
            (*name).to_owned(),
            (chart.plotting_area().get_pixel_range().0.start - left - 186, y - top - 6),
            ("sans-serif", 13),
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::pictures::{BarGroup, Curve, bars, curves};

    /// Every one of many stages is named once in each block, and nothing is drawn outside the picture.
    #[test]
    fn each_of_many_has_a_place_of_its_own() {
        let names: Vec<String> = (0..30).map(|i| format!("stage.{i:02}.of.many")).collect();
        let own = |i: usize| vec![(1.0, 0.1 * i as f64), (2.0, 0.2 * i as f64)];
        let all: Vec<Curve> =
            names.iter().enumerate().map(|(i, n)| Curve { label: n.clone(), points: own(i) }).collect();
        let group = |label: &str| {
            let bars = names.iter().enumerate().map(|(i, n)| (n.clone(), i as f64 / 40.0, 0.05)).collect();
            BarGroup { label: label.into(), bars }
        };
        let drawn = [
            curves(&all, &all, "top-1").unwrap(),
            bars("How good?", "top-1", &[group("audio"), group("video")]).unwrap(),
        ];
        for svg in drawn {
            let size = |key: &str| -> f64 {
                svg.split_once(key).and_then(|(_, rest)| rest.split('"').next()?.parse().ok()).unwrap()
            };
            let (width, height) = (size("<svg width=\""), size(" height=\""));
            for name in &names {
                assert_eq!(svg.matches(name.as_str()).count(), 2, "{name}");
            }
            let mut places = 0;
            for text in svg.split("<text ").skip(1) {
                let at = |key: &str| -> f64 {
                    text.split_once(key).and_then(|(_, rest)| rest.split('"').next()?.parse().ok()).unwrap()
                };
                assert!((0.0..width).contains(&at("x=\"")) && (0.0..height).contains(&at(" y=\"")), "{text}");
                places += 1;
            }
            assert!(places > 60);
        }
    }
}
