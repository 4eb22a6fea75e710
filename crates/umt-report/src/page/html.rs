//! Pieces of HTML.

use std::fmt::Write as _;
use umt_eval::Table;

/// Text inside HTML and inside quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

/// A table with its title as caption and its note below; scrolls sideways where it is too wide.
pub(super) fn table(table: &Table) -> String {
    let mut out = format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr>",
        escape(&table.title)
    );
    for name in &table.header {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(name));
    }
    out += "</tr></thead><tbody>";
    for row in &table.rows {
        out += "<tr>";
        for (i, cell) in row.iter().enumerate() {
            let _ = match i {
                0 => write!(out, "<th scope=\"row\">{}</th>", escape(cell)),
                _ => write!(out, "<td>{}</td>", escape(cell)),
            };
        }
        out += "</tr>";
    }
    out += "</tbody></table></div>";
    if !table.note.is_empty() {
        let _ = write!(out, "<p class=\"dim\">{}</p>", escape(&table.note));
    }
    out
}

/// An SVG inside the page, with words for those who do not see it.
pub(super) fn plot(title: &str, svg: &str) -> String {
    // What comes before the element, such as an XML declaration, has no place inside HTML.
    let svg = svg.find("<svg").map_or(svg, |at| &svg[at..]);
    let svg = svg.replacen("<svg", &format!("<svg role=\"img\" aria-label=\"{}\"", escape(title)), 1);
    format!(
        "<figure><div class=\"plot\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">{svg}</div><figcaption>{0}</figcaption></figure>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_cannot_become_markup() {
        let shown = Table {
            title: "<script>".into(),
            header: vec!["a & b".into()],
            rows: vec![vec!["\"x\" < y".into()]],
            note: String::new(),
        };
        let html = table(&shown);
        assert!(!html.contains("<script>") && html.contains("a &amp; b") && html.contains("&quot;x&quot; &lt; y"));
        assert!(
            plot("t", "<?xml version='1.0'?>\n<svg width=\"3\"/>").contains("<svg role=\"img\" aria-label=\"t\" width")
        );
    }
}
