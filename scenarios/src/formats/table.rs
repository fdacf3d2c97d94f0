//! Tables in the house style.

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

/// One line below the header and nothing else, so that it can be pasted into a mail.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table, as wide as its text.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table
}
