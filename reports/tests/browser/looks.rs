//! How the page looks: what is seen first, in the dark, on paper, and where one points at it.

use std::fs;
use std::path::Path;

use super::page::{Outcome, Shown};
use super::{Given, SCREEN, TELEPHONE, is, on_screen};

/// The sizes at which the answers and the first drawing are seen without scrolling.
const FIRST: [((u32, u32), bool, &str); 2] = [
    ((1280, 800), false, "screen"),
    (TELEPHONE, true, "telephone"),
];

/// The page, the table included, unfolded.
pub(super) fn unfolded(given: &Given, file: &Path) -> Result<Shown, Box<dyn std::error::Error>> {
    let shown = on_screen(given, file)?;
    shown.run("document.getElementById('all').open = true")?;
    Ok(shown)
}

/// Whether the whole box of an element is within the window.
const WITHIN: &str = "((e) => { const b = e.getBoundingClientRect(); return b.width > 0 && \
    b.height > 0 && b.top >= 0 && b.left >= 0 && b.bottom <= window.innerHeight && b.right <= \
    window.innerWidth; })";

pub(super) fn first(given: &Given) -> Outcome {
    for ((width, height), mobile, name) in FIRST {
        let shown = Shown::new(&given.browser, &given.committed, width, height, mobile)?;
        shown.screenshot(&format!("first-{name}"))?;
        let seen = |selector: &str| {
            shown.number(&format!(
                "[...document.querySelectorAll('{selector}')].filter({WITHIN}).length"
            ))
        };
        is(seen("#answers h2")?, 2, &format!("questions on a {name}"))?;
        is(
            seen("#answers article > p:first-of-type")?,
            2,
            &format!("answers on a {name}"),
        )?;
        is(seen("#answers svg")?, 1, &format!("drawings on a {name}"))?;
        // Letters of the drawing, as they are seen.
        let letters = shown.number(
            "(() => { const t = [...document.querySelectorAll('#answers svg text')].filter((e) => \
                e.getBoundingClientRect().width > 0); return Math.round(10 * Math.min(...t.map((e) \
                => parseFloat(getComputedStyle(e).fontSize) * \
                e.ownerSVGElement.getBoundingClientRect().width / \
                e.ownerSVGElement.viewBox.baseVal.width))); })()",
        )?;
        if letters < 95 {
            return Err(format!("letters of {letters} tenths of a pixel on a {name}").into());
        }
        let cut = shown.number(
            "[...document.querySelectorAll('#answers svg text')].filter((e) => { const b = \
                e.getBoundingClientRect(), s = e.ownerSVGElement.getBoundingClientRect(); return \
                b.width > 0 && (b.right > s.right + 1 || b.left < s.left - 1); }).length",
        )?;
        is(cut, 0, &format!("texts that are cut off on a {name}"))?;
    }
    Ok(())
}

/// The brightness of a colour of an element, from 0 to 255.
fn brightness(
    shown: &Shown,
    selector: &str,
    property: &str,
) -> Result<i64, Box<dyn std::error::Error>> {
    shown.number(&format!(
        "(() => {{ const [r, g, b] = getComputedStyle(document.querySelector('{selector}'))\
            .{property}.match(/[\\d.]+/g).map(Number); return Math.round(0.3 * r + 0.59 * g + 0.11 \
            * b); }})()"
    ))
}

pub(super) fn dark(given: &Given) -> Outcome {
    for ((width, height), mobile, name) in FIRST {
        let shown = Shown::new(&given.browser, &given.committed, width, height, mobile)?;
        for (scheme, dark) in [("light", false), ("dark", true)] {
            shown.scheme(scheme)?;
            let paper = brightness(&shown, "body", "backgroundColor")?;
            for (what, selector, property) in [
                ("text", "#answers p", "color"),
                ("letters of a drawing", "#answers svg text", "fill"),
                ("field of a map", ".map td[class]", "color"),
            ] {
                let ink = brightness(&shown, selector, property)?;
                let apart = if dark { ink - paper } else { paper - ink };
                if apart < 90 {
                    return Err(format!("{scheme}: {what} {ink} on {paper}").into());
                }
            }
        }
        shown.screenshot(&format!("dark-{name}"))?;
        shown.run("document.querySelector('#plots').scrollIntoView()")?;
        shown.screenshot(&format!("dark-{name}-plots"))?;
    }
    Ok(())
}

pub(super) fn paper(given: &Given) -> Outcome {
    let shown = on_screen(given, &given.committed)?;
    // Paper is white, whatever the screen prefers.
    shown.scheme("dark")?;
    let pdf = shown.print()?;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("paper.pdf");
    fs::write(path, &pdf)?;
    if brightness(&shown, "#answers p", "color")? > 80 {
        return Err("it prints light letters".into());
    }
    is(
        shown.number(
            "[...document.querySelectorAll('#rows tr[data-row]')].filter((r) => r.offsetHeight === \
                0).length",
        )?,
        0,
        "rows that are folded away on paper",
    )?;
    shown.screenshot("paper-first").map(drop)
}

pub(super) fn values(given: &Given) -> Outcome {
    let shown = on_screen(given, &given.committed)?;
    for (selector, words) in [
        ("#answers .broad circle.d", "ms"),
        (".map td[title]", " of "),
    ] {
        shown.run(&format!(
            "document.querySelector('{selector}').dispatchEvent(new PointerEvent('pointerover', \
                {{ bubbles: true, clientX: 500, clientY: 300 }}))"
        ))?;
        let tip = shown.text("document.getElementById('tip').textContent")?;
        let hidden = shown.value("document.getElementById('tip').hidden")?;
        let fits = match words {
            " of " => tip.contains('/'),
            words => tip.contains(words),
        };
        if !fits || hidden != serde_json::json!(false) {
            return Err(format!("pointing at {selector} shows {tip:?}").into());
        }
    }
    shown.screenshot("values").map(drop)
}

/// The page is small, and its own: what it needs is in it, what lies beside it is named.
pub(super) fn small_and_alone(given: &Given) -> Outcome {
    let text = fs::read_to_string(&given.committed)?;
    if text.len() > 400_000 {
        return Err(format!("the page has {} bytes", text.len()).into());
    }
    let dir = tempfile::tempdir()?;
    let moved = dir.path().join("index.html");
    fs::copy(&given.made, &moved)?;
    let shown = unfolded(given, &moved)?;
    is(
        shown.number("[...document.querySelectorAll('#answers h2')].length")?,
        2,
        "questions",
    )?;
    shown.click("#table tbody .open")?;
    shown.wait("tr.trials p")?;
    let said = shown.text("document.querySelector('tr.trials').textContent")?;
    match said.contains("not beside this page") {
        true => Ok(()),
        false => Err(format!("it says {said}").into()),
    }
}

/// Every table has its fields as a file, and the file is there.
pub(super) fn tables_have_files(given: &Given) -> Outcome {
    for file in [&given.made, &given.committed] {
        let shown = on_screen(given, file)?;
        let files: Vec<String> = serde_json::from_value(shown.value(
            "[...new Set([...document.querySelectorAll('.csv a, a.fig')].map((a) => \
                a.getAttribute('href')))]",
        )?)?;
        let beside = file.parent().unwrap_or(file);
        for name in &files {
            if !beside.join(name).is_file() {
                return Err(format!("{name} is not beside {}", file.display()).into());
            }
        }
        let without = shown.number(
            "[...document.querySelectorAll('#checks table, #emulated table, #sources \
                table')].filter((t) => !t.closest('.wide').nextElementSibling?.matches('.csv'))\
                .length",
        )?;
        is(without, 0, "tables without a file")?;
        if files.len() < 3 {
            return Err(format!("only {files:?}").into());
        }
    }
    Ok(())
}

/// Screens and telephones, section by section, for the people that look at them.
pub(super) fn sections(given: &Given) -> Outcome {
    for ((width, height), mobile, name) in
        [(SCREEN, false, "screen"), (TELEPHONE, true, "telephone")]
    {
        let shown = Shown::new(&given.browser, &given.committed, width, height, mobile)?;
        for section in ["findings", "plots", "rows", "checks", "emulated", "sources"] {
            shown.run(&format!(
                "document.getElementById('{section}').scrollIntoView()"
            ))?;
            shown.screenshot(&format!("{name}-{section}"))?;
        }
        shown.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")?;
        is(
            shown.number("document.documentElement.scrollWidth")?,
            i64::from(width),
            &format!("width with everything open on a {name}"),
        )?;
    }
    Ok(())
}
