//! Tables as a terminal of 80 columns shows them.

use comfy_table::{CellAlignment, ContentArrangement, presets};
use umt_eval::{Results, Table, tables};

/// What a terminal, a log or a mail has at least.
const WIDTH: usize = 80;

/// Every table of some results, as a terminal shows them.
pub fn render_results(results: &Results) -> String {
    tables::of(results).iter().map(render).collect()
}

/// A table as a terminal shows it, its title above it: of one that is too wide some columns follow below, with the first
/// column again; sentences are broken into lines.
pub fn render(table: &Table) -> String {
    let cells = |c: usize| std::iter::once(&table.header).chain(&table.rows).filter_map(move |row| row.get(c));
    let width = |c: usize| cells(c).flat_map(|text| text.lines()).map(|line| line.chars().count()).max().unwrap_or(0);
    // A column has a space at either side and a line after it; the first line is the table's own.
    let widths: Vec<usize> = (0..table.header.len()).map(|c| width(c) + 3).collect();
    let Some((&first, others)) = widths.split_first() else { return format!("\n{}\n", table.title) };
    let mut parts: Vec<Vec<usize>> = vec![vec![0]];
    let mut used = 1 + first;
    for (c, &width) in others.iter().enumerate() {
        if used + width > WIDTH && parts.last().is_some_and(|part| part.len() > 1) {
            parts.push(vec![0]);
            used = 1 + first;
        }
        used += width;
        parts.iter_mut().last().into_iter().for_each(|part| part.push(c + 1));
    }
    let drawn: String = parts.iter().map(|part| draw(table, part)).collect();
    format!("\n{}\n{drawn}", table.title)
}

fn draw(table: &Table, columns: &[usize]) -> String {
    let pick = |row: &Vec<String>| columns.iter().filter_map(|&c| row.get(c).cloned()).collect::<Vec<String>>();
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    drawn.set_width(WIDTH as u16);
    drawn.set_header(pick(&table.header));
    for row in &table.rows {
        drawn.add_row(pick(row));
    }
    for column in drawn.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{drawn}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(header: &[&str], row: &[&str]) -> Table {
        let own = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        Table { title: "Title".into(), header: own(header), rows: vec![own(row)], note: String::new() }
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_and_nothing_is_lost() {
        let many: Vec<String> = (0..14).map(|i| format!("{i}0.12 ± 1.34")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let header = ["method", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
        let sentence = "a sentence of some length ".repeat(6);
        for (table, parts) in [
            (table(&header, &many), 4),
            (table(&["expected", "outcome"], &[&sentence, "NOT HELD"]), 1),
            (table(&["a", "b"], &["1", "2"]), 1),
        ] {
            let text = render(&table);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert_eq!(text.matches('┌').count(), parts, "{text}");
            for word in table.rows[0].iter().flat_map(|cell| cell.split(' ')) {
                assert!(text.contains(word), "{word} is lost:\n{text}");
            }
        }
    }
}
