//! The table of all rows: mechanism, scenario, how often right, how late.

use harness_record::Plane;

use super::super::text;
use super::escaped;
use crate::analysis::{Analysis, Cell};
use crate::stats::CENSORED;

/// Headings; those of numbers sort as numbers.
const COLUMNS: [(&str, bool); 11] = [
    ("mechanism", false),
    ("scenario", false),
    ("dataset", false),
    ("right", true),
    ("wrong", true),
    ("missed", true),
    ("p50", true),
    ("p90", true),
    ("p99", true),
    ("against", true),
    ("trials", true),
];

/// Controls and table.
pub(super) fn table(analysis: &Analysis<'_>) -> String {
    let mut out = String::from(
        "<p>Right: said \"empty\", and it was; or, for a kill, left nothing alive. Wrong: said it \
            too early, or left something alive. Latency runs from the last exit to the verdict, a \
            kill's from the decision to nothing left; intervals are of 95 %. Open a row for its \
            trials.</p>\n\
            <form class=\"controls\" onsubmit=\"return false\">\n\
            <label>Filter <input type=\"search\" id=\"filter\" placeholder=\"words, all of which \
            must occur\"></label>\n",
    );
    let datasets: Vec<String> = analysis
        .campaigns
        .iter()
        .map(|c| c.dataset.name.clone())
        .collect();
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
            <div class=\"wide\"><table id=\"table\">\n\
            <thead><tr>",
    );
    for (column, (name, number)) in COLUMNS.iter().enumerate() {
        out.push_str(&format!(
            "<th scope=\"col\"><button type=\"button\" data-column=\"{column}\" \
                data-number=\"{number}\">{name}</button></th>"
        ));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (index, cell) in analysis.campaigns.iter().flat_map(|c| &c.cells).enumerate() {
        out.push_str(&row(index, cell));
    }
    out.push_str("</tbody>\n</table></div>\n");
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

fn row(index: usize, cell: &Cell<'_>) -> String {
    let row = &cell.row;
    let (plane, wrong) = match row.plane {
        Plane::Detect => ("detect", row.early),
        Plane::Kill => ("kill", row.survived),
    };
    let mut out = format!(
        "<tr data-row=\"{index}\" data-plane=\"{plane}\" data-dataset=\"{}\" \
            data-unexpected=\"{}\">",
        escaped(&row.dataset),
        row.held < row.n
    );
    let mut put = |sort: String, text: String| {
        out.push_str(&format!(
            "<td data-sort=\"{}\">{}</td>",
            escaped(&sort),
            escaped(&text)
        ));
    };
    put(cell.name(), cell.name());
    put(row.label.clone(), row.label.clone());
    put(row.dataset.clone(), row.dataset.clone());
    for count in [cell.good(), wrong] {
        put(count.to_string(), text::count(count, row.n));
    }
    match row.plane {
        Plane::Detect => put(row.missed.to_string(), text::count(row.missed, row.n)),
        Plane::Kill => put("0".to_owned(), ".".to_owned()),
    }
    for permille in [500, 900, 990] {
        let found = cell.latency.quantile(permille);
        let sort = found.map_or(CENSORED, |q| q.at.value().unwrap_or(CENSORED - 1));
        put(sort.to_string(), text::quantile(found));
    }
    let against = match (&row.reference, row.p_holm) {
        (Some(reference), Some(p)) => format!(
            "{} {reference}, {} (p {})",
            text::ratio(row.ratio, [None, None]),
            text::word(row.word),
            text::p(p)
        ),
        _ => "-".to_owned(),
    };
    put(
        row.ratio
            .map_or_else(|| "inf".to_owned(), |r| format!("{r:.6}")),
        against,
    );
    out.push_str(&format!(
        "<td data-sort=\"{}\"><button type=\"button\" class=\"open\" aria-expanded=\"false\">{} \
            trials</button></td></tr>\n",
        row.n, row.n
    ));
    out
}
