//! Rows as comma-separated values, for a spreadsheet.

use harness_record::Plane;

use super::{Origin, text};
use crate::analysis::Campaign;

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

fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}
