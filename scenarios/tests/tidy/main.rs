//! House rules that a program can check. Each says what to do, not only what is wrong.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod imports;
mod layers;

use std::fs;
use std::path::{Path, PathBuf};

use harness::detect::DETECTORS;
use harness::kill::STRATEGIES;
use harness::param::Axis;
use scenarios::SCENARIOS;

/// The limit for files.
const LINES: usize = 500;
/// A file of tests is a list, and may be longer.
const LINES_OF_TESTS: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// Files with this extension, relative to the workspace, without what is built or hidden.
fn files(extension: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.')
                    && !["target", "cache", "generated"].contains(&name.as_str())
                {
                    walk(&path, extension, found);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), extension, &mut found);
    found.sort();
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    found
        .iter()
        .map(|path| (relative(path), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The code of a file: without comments and without what stands in double quotes.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut last = ' ';
        for (at, c) in line.char_indices() {
            if !quoted && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && last != '\\' && !line[at + 1..].starts_with('\'') {
                quoted = !quoted;
            } else if !quoted {
                code.push(c);
            }
            last = c;
        }
        code.push('\n');
    }
    code
}

fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let mut broken = Vec::new();
    for (path, text) in files("rs")
        .iter()
        .filter(|(path, _)| !path.starts_with("allgone/sys/"))
    {
        let code = code(text);
        let word = |w: &str| {
            code.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|x| x == w)
        };
        if word("unsafe")
            || code.contains("allow(unsafe_code")
            || code.contains("expect(unsafe_code")
        {
            broken.push(path.clone());
        }
    }
    none(
        &broken,
        "unsafe code belongs into allgone/sys, behind a safe signature",
    );
    let allowed: Vec<String> = files("rs")
        .into_iter()
        .filter(|(_, text)| {
            code(text)
                .replace(char::is_whitespace, "")
                .contains("allow(unsafe_code")
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        allowed,
        ["allgone/sys/src/lib.rs"],
        "unsafe code is allowed once, at the root of allgone/sys"
    );
}

#[test]
fn nothing_sleeps_to_synchronise() {
    let broken: Vec<String> = files("rs")
        .into_iter()
        .filter(|(_, text)| code(text).contains("thread::sleep"))
        .map(|(path, _)| path)
        .collect();
    none(
        &broken,
        "wait for an event with a deadline instead of std::thread::sleep",
    );
}

#[test]
fn a_scenario_does_not_know_who_watches_it() {
    let mut broken = Vec::new();
    for (path, text) in files("rs") {
        let of_scenario = [
            "scenarios/src/cases/",
            "scenarios/src/script/",
            "scenarios/actor/src/",
        ];
        if of_scenario.iter().any(|dir| path.starts_with(dir)) && !path.ends_with("tests.rs") {
            let code = code(&text);
            let words = [
                "harness::detect",
                "harness::kill",
                "detect::",
                "kill::",
                "DETECTORS",
                "STRATEGIES",
                "command::",
            ];
            broken.extend(
                words
                    .iter()
                    .filter(|w| code.contains(**w))
                    .map(|w| format!("{path}: {w}")),
            );
        }
    }
    none(
        &broken,
        "scenarios answer for scopes and reaches, never for a detector or strategy",
    );
}

#[test]
fn the_registries_are_sorted_and_each_entry_has_its_file() {
    let plugins: [(&[&str], &[&str], Vec<&str>); 3] = [
        (
            &["allgone/src/detect", "harness/src/detect"],
            &["impl Detector for ", "impl BlockingDetector for "],
            DETECTORS.iter().map(|d| d.spec().id).collect(),
        ),
        (
            &["allgone/src/kill", "harness/src/kill"],
            &["impl KillStrategy for ", "impl BlockingStrategy for "],
            STRATEGIES.iter().map(|s| s.spec().id).collect(),
        ),
        (
            &["scenarios/src/cases"],
            &["impl Scenario for "],
            SCENARIOS.iter().map(|s| s.spec().id).collect(),
        ),
    ];
    for (dirs, markers, ids) in plugins {
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(
            ids, sorted,
            "the registry of {dirs:?} is sorted by id, without repetitions"
        );
        assert!(ids.iter().all(|id| {
            id.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-+".contains(&b))
        }));
        let mut written = Vec::new();
        for (path, text) in files("rs") {
            let Some(dir) = dirs.iter().find(|dir| path.starts_with(&format!("{dir}/"))) else {
                continue;
            };
            let code = code(&text);
            let plugin =
                !path.ends_with("/mod.rs") && markers.iter().any(|marker| code.contains(marker));
            if plugin && !path.contains("/common/") && !path.ends_with("tests.rs") {
                let own = |id: &&&str| path == format!("{dir}/{}.rs", id.replace(['-', '+'], "_"));
                let id = ids.iter().find(own);
                let id = id.unwrap_or_else(|| {
                    panic!("{path}: no id in the registry is this file's name, with - or + for _")
                });
                assert!(
                    text.contains(&format!("id: \"{id}\"")),
                    "{path}: the id of a plug-in is its file's name"
                );
                written.push(*id);
            }
        }
        written.sort_unstable();
        assert_eq!(
            written, ids,
            "each entry of the registry of {dirs:?} has a file of its own"
        );
    }
}

#[test]
fn every_plug_in_is_documented() {
    let mut broken = Vec::new();
    let mut need = |id: &str, what: &str, there: bool| {
        if !there {
            broken.push(format!("{id}: {what}"));
        }
    };
    let documented = |axes: &[Axis]| {
        axes.iter()
            .all(|a| !a.doc.is_empty() && !a.name.contains('_'))
    };
    for spec in DETECTORS.iter().map(|d| d.spec()) {
        need(spec.id, "summary", !spec.summary.is_empty());
        need(spec.id, "late", !spec.late.is_empty());
        need(spec.id, "idle_cost", !spec.idle_cost.is_empty());
        need(spec.id, "overflow", !spec.overflow.is_empty());
        need(spec.id, "sources", !spec.sources.is_empty());
        need(spec.id, "axes", documented(spec.axes));
    }
    for spec in STRATEGIES.iter().map(|s| s.spec()) {
        need(spec.id, "summary", !spec.summary.is_empty());
        need(spec.id, "faults", !spec.faults.is_empty());
        need(spec.id, "sources", !spec.sources.is_empty());
        need(spec.id, "axes", documented(spec.axes));
    }
    for spec in SCENARIOS.iter().map(|s| s.spec()) {
        need(spec.id, "summary", !spec.summary.is_empty());
        need(spec.id, "planes", !spec.planes.is_empty());
        need(spec.id, "axes", documented(spec.axes));
    }
    none(&broken, "these facts are missing in the spec of a plug-in");
}

#[test]
fn the_soundness_page_says_what_the_specs_say() {
    let page = fs::read_to_string(root().join("SOUNDNESS.md")).unwrap();
    assert!(
        page == scenarios::command::soundness::page(),
        "SOUNDNESS.md is not what the specs say: cargo run --bin scenario -- list --format \
            markdown > SOUNDNESS.md"
    );
}

#[test]
fn the_picture_of_the_readme_is_one_screen() {
    const PICTURE: &str = "scenarios/doc/forkbomb.svg";
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("]({PICTURE})")),
        "the README shows {PICTURE}"
    );
    let picture = fs::read_to_string(root().join(PICTURE)).unwrap();
    let lines = || {
        picture
            .lines()
            .filter_map(|line| line.strip_suffix("</text>")?.rsplit_once('>'))
    };
    assert_eq!(
        lines().next().map(|line| line.1),
        Some("$ scenario forkbomb")
    );
    assert!(
        lines().count() <= 41,
        "it is the prompt and one screen: scenarios/doc/picture makes it"
    );
    let columns = |text: &str| {
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
            .chars()
            .count()
    };
    assert!(
        lines().all(|line| columns(line.1) <= 80),
        "it is 80 columns wide"
    );
}

#[test]
fn files_stay_short() {
    let mut broken = Vec::new();
    for (path, text) in files("rs") {
        let lines = text.lines().count();
        let most = if path.contains("/tests/") {
            LINES_OF_TESTS
        } else {
            LINES
        };
        if lines > most {
            broken.push(format!("{path}: {lines} lines"));
        }
    }
    none(
        &broken,
        "split what is longer than 500 lines, by what it does",
    );
}

/// Source and documents fit into 100 columns. What cannot be broken is listed here.
#[test]
fn lines_are_at_most_100_columns() {
    /// Recorded or expected data as it is written to a file, in raw strings of tests.
    const DATA: [&str; 5] = [
        "harness/record/src/kill.rs",
        "harness/record/src/times.rs",
        "kernel-patch/lab/src/suite/answers.rs",
        "kernel-patch/lab/src/suite/table.rs",
        "scenarios/src/command/recommend/evidence.rs",
    ];
    /// Documents that a program writes or records.
    const MADE: [&str; 2] = ["conformance/results/", "kernel-patch/results/"];
    let mut broken = Vec::new();
    for (path, text) in files("rs").into_iter().chain(files("md")) {
        let markdown = path.ends_with(".md");
        let mut block = false;
        let mut made = MADE.iter().any(|dir| path.starts_with(dir));
        for (line, number) in text.lines().zip(1..) {
            block ^= line.trim_start().starts_with("```");
            made |= line.starts_with("<!-- figure: ") && line.ends_with("-->");
            made &= line != "<!-- /figure -->";
            // A table row, a heading, a block of code, or one long word (a link, a path).
            let unbreakable = markdown
                && (line.starts_with(['|', '#']) || block || has_marker(line))
                || line.split_whitespace().any(|word| word.len() > 60)
                || DATA.contains(&path.as_str()) && line.contains("\":");
            if line.chars().count() > 100 && !unbreakable && !made {
                broken.push(format!("{path}:{number}"));
            }
        }
    }
    none(&broken, "break these lines at 100 columns");
}

/// Figures in prose are written by `report` between markers, on one line with their sentence.
fn has_marker(line: &str) -> bool {
    line.contains("<!-- figure: ")
}

#[test]
fn every_crate_inherits_licence_lints_and_bench_setting() {
    let mut broken = Vec::new();
    for (path, text) in files("toml")
        .iter()
        // Fixtures and the fuzz targets are workspaces of their own.
        .filter(|(path, _)| path.ends_with("/Cargo.toml"))
        .filter(|(path, _)| !path.contains("/fixtures/") && !path.starts_with("fuzz/"))
    {
        for line in [
            "license.workspace = true",
            "edition.workspace = true",
            "publish.workspace = true",
            "[lints]\nworkspace = true",
        ] {
            if !text.contains(line) {
                broken.push(format!("{path}: {line:?} is missing"));
            }
        }
        let dir = root().join(path.trim_end_matches("Cargo.toml"));
        let in_bin = fs::read_dir(dir.join("src/bin")).map_or(0, Iterator::count);
        let roots = ["src/lib.rs", "src/main.rs"]
            .iter()
            .filter(|file| dir.join(file).exists());
        let targets = roots.count() + in_bin;
        if text.matches("bench = false").count() < targets {
            broken.push(format!(
                "{path}: {targets} lib and bins need a section that says `bench = false`, so that \
                    `cargo bench -- --quick` works"
            ));
        }
    }
    none(&broken, "manifests");
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root().join(licence).is_file(), "{licence}");
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in files("md") {
        let dir = root().join(&path).parent().unwrap().to_path_buf();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = target.split('#').next().unwrap_or("");
            let elsewhere =
                target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !dir.join(target).exists() {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    none(&broken, "these links lead nowhere");
}

/// The tree of directories in ARCHITECTURE.md is complete: what it shows exists, and every crate is
/// shown.
#[test]
fn the_picture_of_the_directories_is_true() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let picture = text
        .split("## Directories")
        .nth(1)
        .and_then(|rest| rest.split("```").nth(1))
        .unwrap();
    let mut broken = Vec::new();
    let mut shown = Vec::new();
    let mut directory = "";
    // Lines that are indented further go on with the one above.
    let entries = picture
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("   "));
    for line in entries {
        let name = line.split_whitespace().next().unwrap();
        let path = if line.starts_with(' ') {
            format!("{directory}{name}")
        } else {
            name.to_owned()
        };
        if !line.starts_with(' ') {
            directory = name;
            shown.push(name.trim_end_matches('/').to_owned());
        }
        if !root().join(&path).exists() {
            broken.push(format!("{path} is shown and does not exist"));
        }
    }
    for (path, _) in files("toml")
        .iter()
        .filter(|(path, _)| path.ends_with("/Cargo.toml"))
    {
        let top = path.split('/').next().unwrap();
        if !shown.iter().any(|directory| directory == top) {
            broken.push(format!("{top}/ exists and is not shown"));
        }
    }
    none(&broken, "the picture of the directories in ARCHITECTURE.md");
}

#[test]
fn code_is_told_from_comments_and_strings() {
    let text = "let a = \"unsafe { }\"; // unsafe\n/// unsafe\nlet q = '\"'; unsafe { b() }\n";
    let code = code(text);
    assert_eq!(code.matches("unsafe").count(), 1, "{code}");
}
