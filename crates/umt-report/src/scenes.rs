//! What segmentation networks see: colours, depth, truth and each network's classes side by side, with a legend.
//!
//! One SVG with its pictures inside, so that it opens anywhere and needs nothing beside it.

use crate::base64::base64;
use crate::error::ReportError;
use std::fmt::Write as _;
use umt_data::LabelMaps;
use umt_run::Done;
use umt_run::folder::FRAMES;
use umt_run::frames::COUNT;
use umt_store::tensors;

/// Width of a picture in the drawing.
const WIDE: usize = 200;
const GAP: usize = 6;
const TOP: usize = 24;

/// The drawing of the first seed of each network; none where no network kept frames.
pub(crate) fn draw(classes: &[String], networks: &[&Done]) -> Result<Option<String>, ReportError> {
    let mut columns: Vec<(String, Vec<Option<String>>)> = Vec::new();
    let mut tall = 0;
    for (n, done) in networks.iter().enumerate() {
        let frames = tensors::read(&done.read(FRAMES)?)?;
        let mut column = |title: &str, part: &str| {
            let cells = (0..COUNT).map(|k| {
                let (shape, values) = frames.get(&format!("{k}.{part}"))?;
                let &[height, width, ..] = shape.as_slice() else { return None };
                tall = tall.max(WIDE * height / width.max(1));
                picture(part, [height, width], values)
            });
            let cells: Vec<Option<String>> = cells.collect();
            if cells.iter().any(Option::is_some) {
                columns.push((title.to_owned(), cells));
            }
        };
        if n == 0 {
            column("colour", "rgb");
            column("depth", "depth");
            column("truth", "truth");
        }
        column(&done.record.stage, "predicted");
    }
    if columns.is_empty() {
        return Ok(None);
    }
    Ok(Some(svg(classes, &columns, tall)))
}

fn svg(classes: &[String], columns: &[(String, Vec<Option<String>>)], tall: usize) -> String {
    let rows = columns.iter().map(|(_, cells)| cells.iter().flatten().count()).max().unwrap_or(0);
    let width = columns.len() * (WIDE + GAP) + GAP;
    let per_line = (width / 130).max(1);
    let legend = classes.len().div_ceil(per_line);
    let bottom = TOP + rows * (tall + GAP);
    let height = bottom + 10 + legend * 20;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (c, (title, cells)) in columns.iter().enumerate() {
        let left = GAP + c * (WIDE + GAP);
        let _ = writeln!(out, "<text x=\"{left}\" y=\"16\">{title}</text>");
        for (row, cell) in cells.iter().flatten().enumerate() {
            let top = TOP + row * (tall + GAP);
            let _ = writeln!(
                out,
                "<image x=\"{left}\" y=\"{top}\" width=\"{WIDE}\" height=\"{tall}\" image-rendering=\"pixelated\" href=\"data:image/png;base64,{cell}\"/>"
            );
        }
    }
    for (class, name) in classes.iter().enumerate() {
        let (x, y) = (GAP + class % per_line * 130, bottom + 4 + class / per_line * 20);
        let [r, g, b] = colour(class);
        let name = name.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"rgb({r},{g},{b})\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            x + 19,
            y + 12
        );
    }
    out + "</svg>\n"
}

/// A colour for a class: bits of its number from the highest down, as in PASCAL VOC's palette, but no black.
fn colour(class: usize) -> [u8; 3] {
    let mut rest = class + 1;
    let mut colour = [0u8; 3];
    for bit in (4..8).rev() {
        for (c, value) in colour.iter_mut().enumerate() {
            *value |= ((rest >> c & 1) as u8) << bit;
        }
        rest >>= 3;
    }
    colour
}

/// A PNG of predicted classes, `[height, width]`, half over the colours they were predicted from, where there are any.
pub fn overlay([height, width]: [usize; 2], classes: &[u8], rgb: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut pixels = Vec::with_capacity(3 * classes.len());
    for (i, &class) in classes.iter().enumerate() {
        let shown = colour(usize::from(class));
        match rgb.and_then(|rgb| rgb.get(3 * i..3 * i + 3)) {
            Some(own) => pixels.extend(own.iter().zip(shown).map(|(a, b)| ((u16::from(*a) + u16::from(b)) / 2) as u8)),
            None => pixels.extend(shown),
        }
    }
    png_of([height, width], &pixels)
}

fn png_of([height, width]: [usize; 2], rgb: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().ok()?.write_image_data(rgb).ok()?;
    Some(bytes)
}

/// A part of a frame as PNG in base64.
fn picture(part: &str, [height, width]: [usize; 2], values: &[f32]) -> Option<String> {
    let far = values.iter().fold(1.0f32, |most, &v| most.max(v));
    let rgb: Vec<u8> = match part {
        "rgb" => values.iter().map(|&v| v as u8).collect(),
        // Near is light; what was not measured is blue.
        "depth" => values.iter().flat_map(|&mm| shade(mm, far)).collect(),
        _ => values
            .iter()
            .flat_map(|&class| if class == f32::from(LabelMaps::VOID) { [0; 3] } else { colour(class as usize) })
            .collect(),
    };
    Some(base64(&png_of([height, width], &rgb)?))
}

fn shade(mm: f32, far: f32) -> [u8; 3] {
    if mm == 0.0 { [0, 0, 130] } else { [(255.0 * (1.0 - 0.9 * mm / far)) as u8; 3] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_classes_differ() {
        let mut all: Vec<_> = (0..254).map(colour).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 254);
        assert!(!all.contains(&[0; 3]));
    }
}
