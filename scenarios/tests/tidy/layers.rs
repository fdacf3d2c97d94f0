//! Which crate and which directory may know which: from the parsed source of the whole workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::imports::{Imports, circles, of_crate, told};
use super::{none, root};

/// The crates of the workspace with where they are, and which of the others each may know.
const CRATES: [(&str, &[&str]); 12] = [
    ("allgone/sys", &[]),
    ("allgone", &["allgone_sys"]),
    ("harness/record", &[]),
    ("reports", &["harness_record"]),
    ("harness", &["allgone", "allgone_sys", "harness_record"]),
    ("scenarios/actor", &["allgone", "allgone_sys"]),
    ("scenarios", &["actor", "allgone", "harness"]),
    (
        "conformance",
        &["actor", "allgone", "allgone_sys", "scenarios"],
    ),
    ("sandbox", &["allgone"]),
    ("benches", &["allgone", "harness"]),
    ("kernel-patch/lab", &[]),
    ("kernel-patch/probe", &["allgone_sys"]),
];

/// How the source names those that others can depend on.
const LIBRARIES: [&str; 11] = [
    "actor",
    "allgone",
    "allgone_sys",
    "benches",
    "conformance",
    "harness",
    "harness_record",
    "lab",
    "reports",
    "sandbox",
    "scenarios",
];

fn of(src: &Path) -> Imports {
    of_crate(src, &LIBRARIES)
}

#[test]
fn no_crate_knows_one_above_it() {
    let mut broken = Vec::new();
    for (directory, may) in CRATES {
        let own = directory.replace(['/', '-'], "_");
        for (other, files) in of(&root().join(directory).join("src")).crates {
            if other != own && !may.contains(&other.as_str()) {
                broken.push(format!("{directory} refers to {other}: {files:?}"));
            }
        }
    }
    none(&broken, "a crate knows what is below it, and nothing else");
}

#[test]
fn every_crate_of_the_workspace_is_looked_at() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap();
    let members = members
        .split(']')
        .next()
        .unwrap()
        .split(',')
        .map(|m| m.trim().trim_matches('"'));
    let members: BTreeSet<&str> = members.filter(|member| !member.is_empty()).collect();
    let looked_at = CRATES.iter().map(|(directory, _)| *directory).collect();
    assert_eq!(members, looked_at, "CRATES in {}", file!());
}

#[test]
fn no_directories_import_each_other_in_a_circle() {
    let mut broken = Vec::new();
    for (directory, _) in CRATES {
        let imports = of(&root().join(directory).join("src"));
        for circle in circles(&imports.within) {
            let names: Vec<_> = circle.iter().cloned().collect();
            broken.push(format!(
                "{directory}/src: {}\n{}",
                names.join(", "),
                told(&circle, &imports.within)
            ));
        }
    }
    none(
        &broken,
        "what two directories share belongs in a third one below both",
    );
}

#[test]
fn the_library_needs_nix_libc_and_thiserror() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "allgone",
            "--edges",
            "normal",
            "--depth",
            "1",
        ])
        .args(["--prefix", "none", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "cargo tree: {said}");
    let text = String::from_utf8_lossy(&tree.stdout);
    let names: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let may = ["allgone", "allgone-sys", "nix", "thiserror"];
    assert_eq!(names, BTreeSet::from(may), "libc comes with allgone-sys");
}

/// A crate that is made of these files.
fn made(files: &[(&str, &str)]) -> (tempfile::TempDir, Imports) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let imports = of(dir.path());
    (dir, imports)
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let root = "mod a; mod b; pub use b::Thing; pub use harness_record as record;";
    for back in [
        "use crate::a::X;",
        "use crate::{a::X, other};",
        "use super::super::a as x;",
        "fn f() { crate::a::g() }",
        "fn f(x: &dyn crate::a::T) {}",
        "fn f() { println!(\"{}\", crate::a::g()) }",
        "list! { 1 => crate::{a::x, z}, }",
        "mod inner { use super::super::super::a; }",
        "impl super::super::a::T for u8 {}",
        "#[cfg(feature = \"x\")] use crate::a;",
    ] {
        let forth = "use crate::Thing; pub struct X;";
        let (_dir, imports) = made(&[("lib.rs", root), ("a/mod.rs", forth), ("b/in/mod.rs", back)]);
        let found = circles(&imports.within);
        assert_eq!(found.len(), 1, "{back}: {:?}", imports.within);
        let said = told(&found[0], &imports.within);
        assert!(said.contains("a -> b") && said.contains("b -> a"), "{said}");
    }
}

#[test]
fn a_longer_circle_is_one_and_a_tree_is_none() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b;"),
        ("b.rs", "use crate::c;"),
        ("c/mod.rs", "use crate::d; use self::own; mod own;"),
        ("c/own.rs", "use super::super::d;"),
        (
            "d.rs",
            "use std::fs; #[cfg(test)] mod tests { use crate::a; }",
        ),
    ];
    let (_dir, imports) = made(&files);
    assert!(circles(&imports.within).is_empty(), "{:?}", imports.within);
    let mut longer = files;
    longer[5].1 = "use crate::a;";
    let (_dir, imports) = made(&longer);
    let found = circles(&imports.within);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].len(), 4, "{found:?}");
}

#[test]
fn a_crate_is_seen_in_a_path_as_in_a_use() {
    for source in [
        "use harness::host;",
        "pub use harness as h;",
        "fn f() { ::harness::x() }",
        "fn f() -> Vec<harness::X> { vec![] }",
        "fn f() { assert!(harness::x()) }",
    ] {
        let (_dir, imports) = made(&[("lib.rs", "mod a;"), ("a/mod.rs", source)]);
        let names: Vec<_> = imports.crates.keys().map(String::as_str).collect();
        assert_eq!(names, ["harness"], "{source}");
    }
}
