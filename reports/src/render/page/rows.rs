//! The table of all rows: mechanism, scenario, how often right, how late. What a column is sorted
//! by stands in its fields, so a row has no more than its words.

use harness_record::Plane;

use super::super::text;
use super::escaped;
use crate::analysis::{Analysis, Cell};
use crate::text::bound;

/// Headings; those of numbers sort as numbers.
const COLUMNS: [(&str, bool); 10] = [
    ("mechanism", false),
    ("scenario", false),
    ("dataset", false),
    ("right", true),
    ("wrong", true),
    ("missed", true),
    ("p50", true),
    ("p99", true),
    ("against", true),
    ("trials", true),
];

/// Controls and table.
pub(super) fn table(analysis: &Analysis<'_>) -> String {
    let mut out = String::from(
        "<p>Right: said \"empty\", and it was; or, for a kill, left nothing alive. Wrong: said it \
            too early, or left something alive. Latency runs from the last exit to the verdict, a \
            kill's from the decision to nothing left. The ratio is that of the medians to the \
            mechanism that a row is compared with; intervals and p-values are in the CSV of the \
            dataset. Open a row for its trials.</p>\n",
    );
    let datasets: Vec<String> = analysis
        .campaigns
        .iter()
        .map(|c| c.dataset.name.clone())
        .collect();
    let files: Vec<String> = datasets
        .iter()
        .map(|name| {
            let name = escaped(name);
            format!("<a href=\"{name}.csv\" download>{name}.csv</a>")
        })
        .collect();
    out.push_str(&format!("<p class=\"csv\">{}</p>\n", files.join(" ")));
    let rows: usize = analysis.campaigns.iter().map(|c| c.cells.len()).sum();
    out.push_str(&format!(
        "<details id=\"all\"><summary>{} rows</summary>\n\
            <form class=\"controls\" onsubmit=\"return false\">\n\
            <label>Filter <input type=\"search\" id=\"filter\" placeholder=\"words, all of which \
            must occur\"></label>\n",
        text::grouped(rows as u64)
    ));
    out.push_str(&choice("dataset", "Dataset", &datasets));
    out.push_str(&choice(
        "plane",
        "Plane",
        &["detect".to_owned(), "kill".to_owned()],
    ));
    out.push_str(
        "<label><input type=\"checkbox\" id=\"unexpected\"> only rows with surprises</label>\n\
            <output id=\"shown\"></output>\n\
            </form>\n\
            <div class=\"wide\" tabindex=\"0\"><table id=\"table\">\n\
            <thead><tr>",
    );
    for (column, (name, number)) in COLUMNS.iter().enumerate() {
        out.push_str(&format!(
            "<th scope=\"col\"><button type=\"button\" data-column=\"{column}\" \
                data-number=\"{number}\">{name}</button></th>"
        ));
    }
    out.push_str("</tr></thead>\n<tbody>");
    for campaign in &analysis.campaigns {
        for (index, cell) in campaign.cells.iter().enumerate() {
            out.push_str(&row(index, cell));
        }
    }
    out.push_str("\n</tbody>\n</table></div></details>\n");
    out
}

fn choice(id: &str, title: &str, values: &[String]) -> String {
    let options: String = values
        .iter()
        .map(|v| format!("<option>{}</option>", escaped(v)))
        .collect();
    format!(
        "<label>{title} <select id=\"{id}\"><option \
            value=\"\">all</option>{options}</select></label>\n"
    )
}

/// One row; the ends of its fields go without saying in HTML.
fn row(index: usize, cell: &Cell<'_>) -> String {
    let row = &cell.row;
    let (plane, wrong, missed) = match row.plane {
        Plane::Detect => ("detect", row.early, row.missed.to_string()),
        Plane::Kill => ("kill", row.survived, ".".to_owned()),
    };
    let unexpected = match row.held < row.n {
        true => " data-unexpected=true",
        false => "",
    };
    let at = |permille| cell.latency.quantile(permille).map(|q| bound(q.at));
    let against = match (&row.reference, row.p_holm) {
        (Some(reference), Some(_)) => format!(
            "{} {reference}, {}",
            text::ratio(row.ratio, [None, None]),
            text::word(row.word)
        ),
        _ => "-".to_owned(),
    };
    let fields = [
        cell.name(),
        row.label.clone(),
        row.dataset.clone(),
        cell.good().to_string(),
        wrong.to_string(),
        missed,
        at(500).unwrap_or_else(|| "-".to_owned()),
        at(990).unwrap_or_else(|| "-".to_owned()),
        against,
    ];
    let fields: String = fields
        .iter()
        .map(|f| format!("<td>{}", escaped(f)))
        .collect();
    format!(
        "\n<tr data-row={index} data-plane={plane}{unexpected}>{fields}<td><button \
            class=open>{}</button>",
        row.n
    )
}
