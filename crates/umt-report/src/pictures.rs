//! Pictures of a run as SVG: training curves, bars of the probes, a confusion matrix.
//!
//! The SVG names a font family and leaves drawing the letters to the viewer, so that no font is needed here.

mod many;

use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;

/// One line of the training curves.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Name in the legend.
    pub label: String,
    /// (epoch, value).
    pub points: Vec<(f64, f64)>,
}

/// One group of bars: a modality.
#[derive(Debug, Clone)]
pub struct BarGroup {
    /// Name under the group.
    pub label: String,
    /// (name, mean, standard deviation over seeds), fractions.
    pub bars: Vec<(String, f64, f64)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<String, Box<dyn Error + Send + Sync>>;

fn draw(size: (u32, u32), paint: impl Fn(&Area<'_>) -> Result<(), Box<dyn Error>>) -> Outcome {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let painted = area.fill(&WHITE).map_err(Box::<dyn Error>::from).and_then(|()| paint(&area));
        painted.and_then(|()| area.present().map_err(Into::into)).map_err(|e| e.to_string())?;
    }
    Ok(svg)
}

/// Colours that stay apart for most kinds of colour blindness (Okabe & Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

fn colour(i: usize) -> RGBColor {
    COLOURS[i % COLOURS.len()]
}

/// Training loss and, where there is one, a figure on validation, side by side; a line per stage, or a panel where there are many.
///
/// # Errors
/// What the drawing library refuses.
pub fn curves(loss: &[Curve], validation: &[Curve], figure: &str) -> Outcome {
    let held = format!("validation {figure}");
    let panels: Vec<(&str, &[Curve])> = [("training loss", loss), (held.as_str(), validation)]
        .into_iter()
        .filter(|(_, c)| c.iter().any(|c| !c.points.is_empty()))
        .collect();
    if many::are_many(loss.len()) {
        return many::curves(&panels);
    }
    let width = 560 * panels.len().max(1) as u32;
    draw((width, 400), |area| {
        for (panel, (title, curves)) in area.split_evenly((1, panels.len().max(1))).iter().zip(&panels) {
            // Where the curves are not: losses fall, accuracies rise.
            let legend = match *title {
                "training loss" => SeriesLabelPosition::UpperRight,
                _ => SeriesLabelPosition::LowerRight,
            };
            lines(panel, title, curves, legend)?;
        }
        Ok(())
    })
}

fn lines(area: &Area<'_>, title: &str, curves: &[Curve], legend: SeriesLabelPosition) -> Result<(), Box<dyn Error>> {
    let all = || curves.iter().flat_map(|c| &c.points);
    let last = all().map(|p| p.0).fold(1.0, f64::max);
    let high = all().map(|p| p.1).fold(0.0, f64::max).max(1e-6) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..last, 0.0..high)?;
    chart.configure_mesh().x_desc("epoch").light_line_style(WHITE).label_style(("sans-serif", 13)).draw()?;
    for (i, curve) in curves.iter().enumerate() {
        let line = chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour(i).stroke_width(2)))?;
        line.label(&curve.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour(i).stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 13))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .position(legend)
        .draw()?;
    Ok(())
}

/// Bars by group, `of` what figure, with the standard deviation over seeds as whiskers; in several rows where there are
/// many groups, such as classes, and a row for each name where there are many of these.
///
/// # Errors
/// What the drawing library refuses.
pub fn bars(title: &str, of: &str, groups: &[BarGroup]) -> Outcome {
    let slots = names_of(groups).len() + 1;
    if many::are_many(slots - 1) {
        return many::rows(title, of, groups);
    }
    let rows = (groups.len() * slots).div_ceil(ROW_OF_BARS).max(1);
    let in_a_row = groups.len().div_ceil(rows).max(1);
    draw((bars_width(in_a_row * slots), 400 * rows as u32), |area| {
        for (row, (panel, groups)) in area.split_evenly((rows, 1)).iter().zip(groups.chunks(in_a_row)).enumerate() {
            bar_panel(panel, if row == 0 { title } else { "" }, of, groups, in_a_row)?;
        }
        Ok(())
    })
}

/// What is known of each encoder as bars, and the share of each in the gradient's norm as lines where it was logged.
///
/// # Errors
/// What the drawing library refuses.
pub fn diagnosis(title: &str, groups: &[BarGroup], shares: &[Curve]) -> Outcome {
    let left = bars_width(groups.len() * (names_of(groups).len() + 1)).max(560);
    let right = if shares.is_empty() { 0 } else { 480 };
    draw((left + right, 420), |area| {
        let (bars, lines_area) = area.split_horizontally(left);
        bar_panel(&bars, title, "fraction, on test", groups, groups.len())?;
        if !shares.is_empty() {
            lines(&lines_area, "share of the gradient's norm", shares, SeriesLabelPosition::LowerRight)?;
        }
        Ok(())
    })
}

/// How many bars stand beside each other.
const ROW_OF_BARS: usize = 40;

fn names_of(groups: &[BarGroup]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, ..) in groups.iter().flat_map(|g| &g.bars) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn bars_width(slots: usize) -> u32 {
    360 + if slots > 20 { 36 } else { 60 } * slots as u32
}

/// Bars in a panel that has room for `columns` groups.
fn bar_panel(
    area: &Area<'_>,
    title: &str,
    y_desc: &str,
    groups: &[BarGroup],
    columns: usize,
) -> Result<(), Box<dyn Error>> {
    let names = names_of(groups);
    let slots = (names.len() + 1) as f64;
    let lowest = groups.iter().flat_map(|g| &g.bars).map(|b| b.1 - b.2).fold(1.0, f64::min);
    // The axis starts at 0: a cut axis would exaggerate the effect.
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..slots * columns as f64 + 1.8, lowest.min(0.0)..1.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_desc(y_desc)
        .light_line_style(WHITE)
        .label_style(("sans-serif", 13))
        .draw()?;
    for (i, name) in names.iter().enumerate() {
        let bars: Vec<(f64, f64, f64)> = groups
            .iter()
            .enumerate()
            .filter_map(|(g, group)| {
                let (_, mean, std) = group.bars.iter().find(|(n, ..)| n == name)?;
                Some((g as f64 * slots + 0.5 + i as f64, *mean, *std))
            })
            .collect();
        chart
            .draw_series(
                bars.iter()
                    .map(|&(x, mean, _)| Rectangle::new([(x + 0.08, 0.0), (x + 0.92, mean)], colour(i).filled())),
            )?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour(i).filled()));
        chart.draw_series(bars.iter().map(|&(x, mean, std)| {
            PathElement::new([(x + 0.5, mean - std), (x + 0.5, mean + std)], BLACK.stroke_width(2))
        }))?;
        chart.draw_series(bars.iter().map(|&(x, mean, std)| {
            Text::new(format!("{:.1}", 100.0 * mean), (x + 0.2, (mean + std + 0.05).min(0.99)), ("sans-serif", 12))
        }))?;
    }
    // The chart knows places on the whole picture, the panel on itself.
    let (left, top) = (area.get_pixel_range().0.start, area.get_pixel_range().1.start);
    for (g, group) in groups.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(g as f64 * slots + slots / 2.0, 0.0));
        let size = 14;
        let shift = (group.label.len() * size / 4) as i32;
        area.draw(&Text::new(group.label.clone(), (x - left - shift, y - top + 10), ("sans-serif", size as i32)))?;
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 13))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .position(SeriesLabelPosition::UpperRight)
        .draw()?;
    Ok(())
}

/// A confusion matrix `[true, predicted]` of `names.len()` classes, each row shaded by its share. Its numbers are
/// counts, or per cent of the row where the counts are of pixels and would not fit.
///
/// # Errors
/// What the drawing library refuses.
pub fn confusion(title: &str, names: &[String], counts: &[u64]) -> Outcome {
    let n = names.len();
    let (cell, left, top) = (if n > 24 { 16 } else { 34 }, 110, 50);
    let side = (n * cell as usize) as i32;
    let large = counts.iter().any(|&count| count > 9999);
    let title = if large { format!("{title}, % of the row") } else { title.to_owned() };
    draw(((side + left + 20) as u32, (side + top + 90) as u32), |area| {
        area.draw(&Text::new(title.clone(), (10, 12), ("sans-serif", 16)))?;
        for (row, line) in counts.chunks(n.max(1)).enumerate() {
            let total = line.iter().sum::<u64>().max(1) as f64;
            let y = top + cell * row as i32;
            area.draw(&Text::new(short(&names[row]), (8, y + cell / 2 - 6), ("sans-serif", 12)))?;
            for (column, &count) in line.iter().enumerate() {
                let x = left + cell * column as i32;
                let share = count as f64 / total;
                area.draw(&Rectangle::new([(x, y), (x + cell, y + cell)], colour(0).mix(share).filled()))?;
                let shown = if large { (100.0 * share).round() as u64 } else { count };
                if shown > 0 && n <= 24 {
                    let ink = if share > 0.5 { WHITE } else { BLACK };
                    let style = ("sans-serif", 11).into_font().color(&ink);
                    area.draw(&Text::new(shown.to_string(), (x + 6, y + cell / 2 - 6), style))?;
                }
            }
        }
        for (column, name) in names.iter().enumerate() {
            let style = ("sans-serif", 12).into_font().transform(FontTransform::Rotate90).color(&BLACK);
            let x = left + cell * column as i32 + cell / 2 + 6;
            area.draw(&Text::new(short(name), (x, top + side + 6), style))?;
        }
        Ok(())
    })
}

fn short(name: &str) -> String {
    if name.chars().count() <= 14 { name.to_owned() } else { name.chars().take(13).chain(['…']).collect() }
}
