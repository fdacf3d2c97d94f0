//! Kills as bars: the time until the first signal, the time from there to the last death, and how
//! often the end was known late.

use harness_record::Plane;

use super::super::text;
use super::Drawing;
use super::canvas::round_ns;
use super::svg::{Anchor, Sheet, real};
use crate::analysis::{Campaign, Cell};
use crate::answers::NOTIFICATION;
use crate::summary::Knowing;

const WIDTH: f64 = 440.0;
const TOP: f64 = 40.0;
const EACH: f64 = 36.0;
const LEFT: f64 = 10.0;
const RIGHT: f64 = 430.0;

/// One for each label of the kill plane.
pub(super) fn all(campaign: &Campaign<'_>) -> Vec<Drawing> {
    let cells: Vec<&Cell<'_>> = campaign
        .plane(Plane::Kill)
        .filter(|cell| cell.row.twin == 0)
        .collect();
    let groups = cells.chunk_by(|a, b| a.row.label == b.row.label);
    groups
        .filter_map(|group| draw(&group[0].row.label, group))
        .collect()
}

fn draw(label: &str, cells: &[&Cell<'_>]) -> Option<Drawing> {
    // A strategy that leaves something alive in half of its trials takes no time that means
    // anything.
    let timed: Vec<&&Cell<'_>> = cells
        .iter()
        .filter(|cell| cell.row.p50_ns.is_some())
        .collect();
    let longest = timed.iter().filter_map(|cell| total(cell)).max()?;
    let mut sheet = Sheet::new(WIDTH, TOP + EACH * real(timed.len()) + 26.0);
    let scale = |ns: u64| (RIGHT - LEFT) * ratio(ns, longest);
    for (at, class, words) in [
        (LEFT, "hold", "holding"),
        (LEFT + 72.0, "die", "dying"),
        (
            LEFT + 128.0,
            "know",
            "known more than 1 ms late: share of trials",
        ),
    ] {
        sheet.area(class, (at, 12.0), (10.0, 10.0), "");
        sheet.text("s", (at + 14.0, 21.0), Anchor::Start, words);
    }
    for (at, cell) in timed.iter().enumerate() {
        let row = &cell.row;
        let y = TOP + EACH * real(at);
        let (holding, dying) = (row.holding_ns.unwrap_or(0), row.dying_ns.unwrap_or(0));
        let watched = watched(cell);
        sheet.text("b", (LEFT, y + 9.0), Anchor::Start, &cell.name());
        let known = match watched {
            Some((_, k)) if k.n > 0 => format!(", late in {} of {}", k.late, k.n),
            _ => String::new(),
        };
        let words = format!("{} + {}{known}", text::ns(holding), text::ns(dying));
        sheet.text("s", (RIGHT, y + 9.0), Anchor::End, &words);
        let of = |what: &str, ns: u64| format!("{}: {what} {}", cell.name(), text::ns(ns));
        sheet.area("rail", (LEFT, y + 14.0), (RIGHT - LEFT, 9.0), "");
        let held = scale(holding);
        sheet.area(
            "hold",
            (LEFT, y + 14.0),
            (held, 9.0),
            &of("holding", holding),
        );
        sheet.area(
            "die",
            (LEFT + held, y + 14.0),
            (scale(dying), 9.0),
            &of("dying", dying),
        );
        if let Some((detector, k)) = watched.filter(|(_, k)| k.n > 0) {
            let share = ratio(k.late as u64, k.n as u64);
            let words = format!(
                "{}, seen by {detector}: late in {}",
                cell.name(),
                text::late(k)
            );
            sheet.area(
                "know",
                (LEFT, y + 24.5),
                ((RIGHT - LEFT) * share, 4.0),
                &words,
            );
        }
    }
    let bottom = TOP + EACH * real(timed.len());
    sheet.line("m", (LEFT, bottom), (RIGHT, bottom));
    let end = round_ns(longest);
    for (x, anchor, words) in [
        (LEFT, Anchor::Start, "0".to_owned()),
        (
            f64::midpoint(LEFT, RIGHT),
            Anchor::Middle,
            text::ns(longest / 2),
        ),
        (RIGHT, Anchor::End, end),
    ] {
        sheet.line("m", (x, bottom), (x, bottom + 4.0));
        sheet.text("s", (x, bottom + 16.0), anchor, &words);
    }
    let title = format!("Holding, dying, knowing: {label}");
    let left_out = match cells.len() - timed.len() {
        0 => String::new(),
        more => format!(" {more} more left something alive in half of their trials or more."),
    };
    let watcher = cells.iter().find_map(|cell| watched(cell));
    let seen_by = watcher.map_or_else(String::new, |(detector, _)| format!(", seen by {detector}"));
    Some(Drawing {
        slug: format!("bars {label}"),
        body: sheet.finish(&title),
        html: None,
        caption: format!(
            "Medians: from the decision to the first signal (holding), and from there to the last \
                death (dying). The thin bar is the share of trials in which the end was known more \
                than 1 ms late{seen_by}; its whole width is 100 %.{left_out}"
        ),
        title,
    })
}

/// How often the end was known late: to the kernel's notification, if it watched.
fn watched<'c>(cell: &'c Cell<'_>) -> Option<(&'c String, &'c Knowing)> {
    let known = &cell.row.knowing;
    known
        .get_key_value(NOTIFICATION)
        .or_else(|| known.iter().next())
}

fn total(cell: &Cell<'_>) -> Option<u64> {
    Some(cell.row.holding_ns.unwrap_or(0) + cell.row.dying_ns?).filter(|ns| *ns > 0)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64).clamp(0.0, 1.0)
}
