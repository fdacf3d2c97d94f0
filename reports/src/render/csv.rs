//! Rows as comma-separated values, for a spreadsheet.

use std::collections::BTreeMap;

use harness_record::Plane;

use super::{Origin, costs, diff, emulated, tables, text};
use crate::analysis::{Analysis, Campaign};
use crate::emulated::Emulated;

/// All rows of a campaign. Times are nanoseconds; an empty field is unknown or beyond the deadline.
pub fn rows(campaign: &Campaign<'_>) -> String {
    let mut out = String::new();
    for line in Origin::of(campaign).lines() {
        out.push_str(&format!("# {line}\n"));
    }
    out.push_str(
        "dataset,plane,label,detector,strategy,twin,n,broken,held,right,early,missed,emptied,\
            survived,other,p50_ns,p50_low_ns,p50_high_ns,p90_ns,p90_low_ns,p90_high_ns,p99_ns,\
            p99_low_ns,p99_high_ns,p999_ns,max_ns,outliers,reference,ratio,ratio_low,ratio_high,\
            difference_ns,difference_low_ns,difference_high_ns,p_holm,word,launch_ns,prepare_ns,\
            cpu_ns,wakeups,idle_cpu_ns_per_s,idle_wakeups,survivors_max,signals,holding_ns,\
            dying_ns,held_ns,births\n",
    );
    for cell in &campaign.cells {
        let row = &cell.row;
        let whole = |value: Option<u64>| value.map_or_else(String::new, |v| v.to_string());
        let signed = |value: Option<i64>| value.map_or_else(String::new, |v| v.to_string());
        let real = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.4}"));
        let plane = match row.plane {
            Plane::Detect => "detect",
            Plane::Kill => "kill",
        };
        let fields = [
            row.dataset.clone(),
            plane.to_owned(),
            row.label.clone(),
            row.detector.clone(),
            row.strategy.clone().unwrap_or_default(),
            row.twin.to_string(),
            row.n.to_string(),
            row.broken.to_string(),
            row.held.to_string(),
            row.right.to_string(),
            row.early.to_string(),
            row.missed.to_string(),
            row.emptied.to_string(),
            row.survived.to_string(),
            row.other.to_string(),
            whole(row.p50_ns),
            whole(row.p50_ci[0]),
            whole(row.p50_ci[1]),
            whole(row.p90_ns),
            whole(row.p90_ci[0]),
            whole(row.p90_ci[1]),
            whole(row.p99_ns),
            whole(row.p99_ci[0]),
            whole(row.p99_ci[1]),
            whole(row.p999_ns),
            whole(row.max_ns),
            row.outliers.to_string(),
            row.reference.clone().unwrap_or_default(),
            real(row.ratio),
            real(row.ratio_ci[0]),
            real(row.ratio_ci[1]),
            signed(row.difference_ns),
            signed(row.difference_ci[0]),
            signed(row.difference_ci[1]),
            real(row.p_holm),
            row.word
                .map_or("", |word| text::word(Some(word)))
                .to_owned(),
            whole(row.launch_ns),
            whole(row.prepare_ns),
            whole(row.cpu_ns),
            whole(row.wakeups),
            whole(row.idle_cpu_ns),
            whole(row.idle_wakeups),
            row.survivors_max.to_string(),
            whole(row.signals),
            whole(row.holding_ns),
            whole(row.dying_ns),
            whole(row.held_ns),
            whole(row.births),
        ];
        let quoted: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        out.push_str(&quoted.join(","));
        out.push('\n');
    }
    out
}

/// The tables that are no rows of a campaign: twins, stages, many sites, campaigns that were
/// repeated, and what the lab recorded. Their fields are those of the table.
pub fn of_tables(analysis: &Analysis<'_>, emulated: &Emulated) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut put = |name: String, origin: &Origin, table: String| {
        if fields(&table).count() > 1 {
            files.insert(name, of_table(origin, &table));
        }
    };
    for campaign in &analysis.campaigns {
        let (name, origin) = (&campaign.dataset.name, Origin::of(campaign));
        put(
            format!("{name}-twins.csv"),
            &origin,
            tables::twins(&campaign.twins),
        );
        let stages = costs::stages(campaign).unwrap_or_default();
        put(format!("{name}-stages.csv"), &origin, stages);
        put(
            format!("{name}-sites.csv"),
            &origin,
            costs::scale(&campaign.scale),
        );
    }
    for diff in &analysis.diffs {
        let both = analysis
            .campaigns
            .iter()
            .filter(|c| [&diff.before, &diff.after].contains(&&c.dataset.name));
        let origin = Origin::of_all(both);
        put(
            format!("{}-diff.csv", diff.before),
            &origin,
            diff::table(diff),
        );
    }
    let lab = emulated::origin(emulated);
    put(
        "emulated-latencies.csv".to_owned(),
        &lab,
        emulated::latencies(emulated),
    );
    put(
        "emulated-counts.csv".to_owned(),
        &lab,
        emulated::counts(emulated),
    );
    let [differences, lost] = emulated::series_tables(emulated);
    put("emulated-series.csv".to_owned(), &lab, differences);
    put("emulated-removals.csv".to_owned(), &lab, lost);
    files
}

/// The file that has the fields of the table, or the value, with this figure's name.
pub fn beside(figure: &str) -> String {
    let (dataset, rest) = figure.split_once('/').unwrap_or((figure, ""));
    let own = [
        "twins",
        "stages",
        "sites",
        "diff",
        "latencies",
        "counts",
        "series",
        "removals",
    ];
    match dataset {
        // Of several datasets.
        "answers" | "campaigns" => "summary.json".to_owned(),
        _ if own.contains(&rest) => format!("{dataset}-{rest}.csv"),
        "emulated" => "emulated.md".to_owned(),
        _ if rest.starts_with("sites=") => format!("{dataset}-sites.csv"),
        _ if rest.starts_with("twins/") => format!("{dataset}-twins.csv"),
        _ if rest.starts_with("diff/") => format!("{dataset}-diff.csv"),
        _ => format!("{dataset}.csv"),
    }
}

/// A table of Markdown without its marks.
fn of_table(origin: &Origin, table: &str) -> String {
    let mut out = String::new();
    for line in origin.lines() {
        out.push_str(&format!("# {line}\n"));
    }
    for line in fields(table) {
        let inner = line.trim_start_matches("| ").trim_end_matches(" |");
        // A bar within a field is escaped.
        let fields = inner.replace("\\|", "\u{0}");
        let fields = fields
            .split(" | ")
            .map(|field| quoted(&field.replace('\u{0}', "|").replace(['`', '*'], "")));
        out.push_str(&fields.collect::<Vec<_>>().join(","));
        out.push('\n');
    }
    out
}

/// The lines of a table of Markdown that have fields, its head included.
fn fields(table: &str) -> impl Iterator<Item = &str> {
    let lines = table.lines();
    lines.filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
}

fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_loses_its_marks_and_keeps_its_fields() {
        let table = "| a | b |\n| --- | --- |\n| `x` | 1, 2 \\| 3 |\n";
        let text = of_table(&Origin::default(), table);
        assert!(text.ends_with("\na,b\nx,\"1, 2 | 3\"\n"), "{text}");
        assert_eq!(beside("scale/sites"), "scale-sites.csv");
        assert_eq!(beside("kill-64/forkbomb/ranking"), "kill-64.csv");
    }
}
