//! The page in a real browser: it has no errors, loads nothing from the network, filters, sorts,
//! shows trials, and can be read on a screen, on a telephone and on paper.
//!
//! Without a browser these tests are *ignored*, with the reason; `HARNESS_REQUIRE=browser` makes
//! that a failure.
#![expect(clippy::unwrap_used, reason = "the whole program is a test")]

mod looks;
#[path = "../made/mod.rs"]
mod made;
mod page;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use headless_chrome::Browser;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use page::{Outcome, Shown};

/// What a test is given.
struct Given {
    browser: Browser,
    /// A page of made-up records with known content.
    made: PathBuf,
    /// The page that is committed.
    committed: PathBuf,
}

type Test = (&'static str, fn(&Given) -> Outcome);

const TESTS: [Test; 15] = [
    ("nothing_is_complained_about_and_nothing_is_fetched", quiet),
    ("a_filter_leaves_the_rows_that_fit", filter),
    ("a_heading_sorts_by_number_both_ways", sort),
    ("the_trials_behind_a_row_open_and_close", trials),
    ("a_screen_shows_it_without_overflow", screen),
    ("a_telephone_shows_it_without_overflow", telephone),
    ("paper_shows_all_rows_and_no_controls", paper),
    ("without_scripts_all_rows_are_there", without_scripts),
    ("both_answers_are_seen_without_scrolling", looks::first),
    ("it_is_dark_where_that_is_preferred", looks::dark),
    ("the_committed_page_can_be_printed", looks::paper),
    ("values_are_shown_where_one_points", looks::values),
    ("the_page_is_small_and_works_alone", looks::small_and_alone),
    ("tables_have_files_beside_them", looks::tables_have_files),
    ("all_sections_fit_with_everything_open", looks::sections),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One browser, one tab at a time.
    arguments.test_threads = Some(1);
    let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name.trim() == "browser");
    if arguments.list {
        let listed = TESTS.map(|(name, _)| Trial::test(name, || Ok(())));
        return libtest_mimic::run(&arguments, listed.into()).exit_code();
    }
    let root = tempfile::tempdir().unwrap();
    let given = page::program().and_then(|program| {
        page::start(program).map_err(|e| format!("the browser did not start: {e}"))
    });
    let given = given.map(|browser| {
        made::workspace(root.path());
        Arc::new(Given {
            browser,
            made: root.path().join("reports/generated/index.html"),
            committed: Path::new(env!("CARGO_MANIFEST_DIR")).join("generated/index.html"),
        })
    });
    let trials = TESTS.map(|(name, test)| {
        let given = given.clone();
        Trial::ignorable_test(name, move || match given {
            Ok(given) => test(&given)
                .map(|()| Completion::Completed)
                .map_err(|e| Failed::from(e.to_string())),
            Err(why) if required => Err(Failed::from(format!(
                "HARNESS_REQUIRE names a browser, but {why}"
            ))),
            Err(why) => Ok(Completion::ignored_with(why)),
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

const SCREEN: (u32, u32) = (1280, 900);
const TELEPHONE: (u32, u32) = (390, 844);

fn on_screen(given: &Given, file: &Path) -> Result<Shown, Box<dyn std::error::Error>> {
    Shown::new(&given.browser, file, SCREEN.0, SCREEN.1, false)
}

fn is(found: i64, expected: i64, what: &str) -> Outcome {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: {found}, not {expected}").into()),
    }
}

fn quiet(given: &Given) -> Outcome {
    for file in [&given.made, &given.committed] {
        let shown = on_screen(given, file)?;
        shown.click("#table th button")?;
        is(
            shown.number(
                "performance.getEntriesByType('resource').filter((e) => \
                    !e.name.startsWith('data:')).length",
            )?,
            0,
            "resources",
        )?;
        let complaints = shown.complaints();
        if !complaints.is_empty() {
            return Err(format!("{}: {}", file.display(), complaints.join("\n")).into());
        }
    }
    // The listener has to be shown to work.
    let shown = on_screen(given, &given.made)?;
    shown.run("console.error('heard')")?;
    match shown.complaints().iter().any(|c| c.contains("heard")) {
        true => Ok(()),
        false => Err("a complaint was not heard".into()),
    }
}

const VISIBLE: &str = "[...document.querySelectorAll('#table tbody tr[data-row]')].filter((r) => \
    !r.hidden && r.offsetHeight > 0)";

fn filter(given: &Given) -> Outcome {
    let shown = looks::unfolded(given, &given.made)?;
    let all = shown.number(&format!("{VISIBLE}.length"))?;
    shown.fill("filter", "never-heard lifetime=0")?;
    let some = shown.number(&format!("{VISIBLE}.length"))?;
    is(some, 4, "rows of two words")?;
    is(
        shown.number(&format!(
            "{VISIBLE}.filter((r) => r.textContent.includes('never-heard-of')).length"
        ))?,
        some,
        "rows that fit",
    )?;
    shown.fill("filter", "")?;
    shown.fill("plane", "kill")?;
    is(
        shown.number(&format!("{VISIBLE}.length"))?,
        9,
        "rows of one plane",
    )?;
    shown.fill("plane", "")?;
    shown.fill("dataset", "latency")?;
    is(
        shown.number(&format!("{VISIBLE}.length"))?,
        14,
        "rows of one dataset",
    )?;
    shown.fill("dataset", "")?;
    shown.click("#unexpected")?;
    let surprises = shown.number(&format!("{VISIBLE}.length"))?;
    if surprises == 0 || surprises >= all {
        return Err(format!("{surprises} of {all} rows have surprises").into());
    }
    shown.click("#unexpected")?;
    is(
        shown.number(&format!("{VISIBLE}.length"))?,
        all,
        "rows again",
    )
}

fn sort(given: &Given) -> Outcome {
    let shown = looks::unfolded(given, &given.made)?;
    let heading = "#table th:nth-child(7) button";
    // Medians as nanoseconds; what is none is larger than all.
    let keys = format!(
        "{VISIBLE}.map((r) => {{ const [n, unit] = r.cells[6].textContent.split(' '); return unit \
            ? Number(n) * {{ s: 1e9, ms: 1e6, us: 1e3, ns: 1 }}[unit] : 1e18; }})"
    );
    for (descending, direction) in [(false, "ascending"), (true, "descending")] {
        shown.click(heading)?;
        let values: Vec<f64> = serde_json::from_value(shown.value(&keys)?)?;
        let sorted = match descending {
            false => values.is_sorted(),
            true => values.iter().rev().is_sorted(),
        };
        if !sorted || values.len() < 10 {
            return Err(format!("{direction}: {values:?}").into());
        }
        let said = shown
            .text("document.querySelector('#table th:nth-child(7)').getAttribute('aria-sort')")?;
        if said != direction {
            return Err(format!("the heading says {said}").into());
        }
    }
    Ok(())
}

fn trials(given: &Given) -> Outcome {
    let shown = looks::unfolded(given, &given.made)?;
    shown.fill("filter", "latency-again sleepy lifetime=0 made-up")?;
    is(shown.number(&format!("{VISIBLE}.length"))?, 1, "rows")?;
    let button = "#table tbody tr[data-row]:not([hidden]) .open";
    shown.click(button)?;
    shown.wait("tr.trials .raw")?;
    is(
        shown.number("document.querySelectorAll('tr.trials').length")?,
        1,
        "opened rows",
    )?;
    is(
        shown.number("document.querySelectorAll('tr.trials .raw tr').length")?,
        41,
        "a heading and forty trials",
    )?;
    let text = shown.text("document.querySelector('tr.trials').textContent")?;
    for word in [
        "missed",
        "right",
        "it said nothing until the deadline",
        "us",
    ] {
        if !text.contains(word) {
            return Err(format!("{word:?} is not in {text}").into());
        }
    }
    shown.screenshot("trials")?;
    shown.fill("filter", "no such row")?;
    is(
        shown.number(
            "[...document.querySelectorAll('tr.trials')].filter((r) => !r.hidden).length",
        )?,
        0,
        "trials of hidden rows",
    )?;
    shown.fill("filter", "latency-again sleepy lifetime=0 made-up")?;
    shown.click(button)?;
    is(
        shown.number("document.querySelectorAll('tr.trials').length")?,
        0,
        "rows after closing",
    )
}

fn screen(given: &Given) -> Outcome {
    fits(given, SCREEN, false, "screen")
}

fn telephone(given: &Given) -> Outcome {
    fits(given, TELEPHONE, true, "telephone")
}

/// Nothing is wider than the paper, letters are large enough, and the page is not blank.
fn fits(given: &Given, (width, height): (u32, u32), mobile: bool, name: &str) -> Outcome {
    for (which, file) in [("made", &given.made), ("committed", &given.committed)] {
        let shown = Shown::new(&given.browser, file, width, height, mobile)?;
        is(
            shown.number("document.documentElement.scrollWidth")?,
            i64::from(width),
            &format!("width of the {which} page"),
        )?;
        is(
            shown.number("window.innerWidth")?,
            i64::from(width),
            "width of the window",
        )?;
        let letters = shown.number(
            "Math.round(parseFloat(getComputedStyle(document.querySelector('#findings \
                p')).fontSize))",
        )?;
        let cells = shown.number(
            "Math.round(parseFloat(getComputedStyle(document.querySelector('#table')).fontSize))",
        )?;
        if letters < 15 || cells < 12 {
            return Err(format!("letters of {letters} and {cells} pixels").into());
        }
        let top = shown.screenshot(&format!("{name}-{which}-top"))?;
        for (part, at) in [("rows", "#rows"), ("plots", "#plots")] {
            shown.run(&format!("document.querySelector('{at}').scrollIntoView()"))?;
            shown.screenshot(&format!("{name}-{which}-{part}"))?;
        }
        // A blank sheet of this size compresses to a few kilobytes.
        if top.len() < 12_000 {
            return Err(format!("the screenshot has {} bytes: a blank sheet", top.len()).into());
        }
    }
    Ok(())
}

fn paper(given: &Given) -> Outcome {
    let shown = on_screen(given, &given.made)?;
    let pdf = shown.print()?;
    if !pdf.starts_with(b"%PDF") || pdf.len() < 20_000 {
        return Err(format!("the print has {} bytes", pdf.len()).into());
    }
    is(
        shown.number("document.querySelector('.controls').offsetHeight")?,
        0,
        "height of the controls",
    )?;
    is(
        shown.number("document.querySelector('nav').offsetHeight")?,
        0,
        "height of the navigation",
    )?;
    is(
        shown.number(
            "[...document.querySelectorAll('.wide')].filter((e) => getComputedStyle(e).overflowX \
                !== 'visible').length",
        )?,
        0,
        "tables that are cut off",
    )?;
    is(
        shown.number(&format!("{VISIBLE}.length"))?,
        shown.number("document.querySelectorAll('tr[data-row]').length")?,
        "rows",
    )
}

fn without_scripts(given: &Given) -> Outcome {
    // As written, before any script has run.
    let text = std::fs::read_to_string(&given.made)?;
    let rows = text.matches("<tr data-row=").count();
    let shown = on_screen(given, &given.made)?;
    is(
        shown.number("document.querySelectorAll('tr[data-row]').length")?,
        i64::try_from(rows)?,
        "rows",
    )?;
    match rows > 20 && !text.contains("http://") && !text.contains("src=\"//") {
        true => Ok(()),
        false => Err("the page is not whole by itself".into()),
    }
}
