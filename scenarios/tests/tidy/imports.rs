//! What a module of a crate refers to, from the parsed source: `use` trees, full paths in types,
//! expressions, patterns and attributes, and whatever looks like a path among the tokens of a
//! macro.
//!
//! A node is a top-level module of a crate: a directory of `src`, or a file beside `lib.rs`. A name
//! that the root of the crate re-exports (`crate::ProcessSet`) belongs to the module that it comes
//! from. Code under `#[cfg(test)]` is left out: it is no part of what others build on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// From which module to which one, and where that is said.
pub(crate) type Edges = BTreeMap<(String, String), BTreeSet<String>>;

/// What one crate refers to.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    /// Among its own top-level modules.
    pub(crate) within: Edges,
    /// Other crates, by the name that the source uses, and the files that do.
    pub(crate) crates: BTreeMap<String, BTreeSet<String>>,
}

/// Reads all of `src`, which has a `lib.rs` or a `main.rs`. `known` are the crates to look for.
pub(crate) fn of_crate(src: &Path, known: &[&str]) -> Imports {
    let mut sources = Vec::new();
    collect(src, src, &mut sources);
    let nodes: BTreeSet<String> = sources.iter().filter_map(|(name, _)| top(name)).collect();
    let root = sources.iter().find(|(name, _)| is_root(name));
    let mut names = BTreeMap::new();
    if let Some((_, text)) = root {
        re_exported(&parse(src, "lib.rs", text), &nodes, &mut names);
    }
    let mut imports = Imports::default();
    for (name, text) in &sources {
        let mut found = Found::at(module_path(name));
        found.visit_file(&parse(src, name, text));
        for (path, used) in found.paths {
            let Some(first) = path.first() else { continue };
            if first != "crate" {
                // A single name that is not imported is that of a variable, or of a function.
                if known.contains(&first.as_str()) && (used || path.len() > 1) {
                    let files = imports.crates.entry(first.clone()).or_default();
                    files.insert(name.clone());
                }
                continue;
            }
            // What the root refers to is what it re-exports.
            let (Some(from), Some(to)) = (top(name), path.get(1)) else {
                continue;
            };
            let to = names.get(to).unwrap_or(to);
            if nodes.contains(to) && *to != from {
                let said = format!("{name}: {}", path.join("::"));
                imports
                    .within
                    .entry((from, to.clone()))
                    .or_default()
                    .insert(said);
            }
        }
    }
    imports
}

/// The circles among `edges`: each a set of modules that reach each other.
pub(crate) fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let mut reach: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        reach.entry(from).or_default().insert(to);
    }
    loop {
        let longer: Vec<(&str, &str)> = reach
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |to| (*from, *to)))
            .flat_map(|(from, via)| {
                reach
                    .get(via)
                    .into_iter()
                    .flatten()
                    .map(move |to| (from, *to))
            })
            .filter(|(from, to)| !reach[from].contains(to))
            .collect();
        if longer.is_empty() {
            break;
        }
        for (from, to) in longer {
            reach.entry(from).or_default().insert(to);
        }
    }
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (from, to) in &reach {
        if to.contains(from) && !found.iter().any(|circle| circle.contains(*from)) {
            let back = to
                .iter()
                .filter(|to| reach.get(*to).is_some_and(|r| r.contains(from)));
            found.push(back.map(|name| (*name).to_owned()).collect());
        }
    }
    found
}

/// What closes the circle, one line for each edge of it.
pub(crate) fn told(circle: &BTreeSet<String>, edges: &Edges) -> String {
    let inside = |(from, to): &(String, String)| circle.contains(from) && circle.contains(to);
    let lines = edges.iter().filter(|(edge, _)| inside(edge));
    lines
        .map(|((from, to), said)| {
            let said: Vec<&str> = said.iter().take(3).map(String::as_str).collect();
            format!("  {from} -> {to}: {}\n", said.join("; "))
        })
        .collect()
}

fn collect(src: &Path, dir: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(src).unwrap().display().to_string();
        if path.is_dir() {
            // Programs of their own.
            if name != "bin" {
                collect(src, &path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn parse(src: &Path, name: &str, text: &str) -> syn::File {
    syn::parse_file(text).unwrap_or_else(|e| panic!("{}/{name}: {e}", src.display()))
}

fn is_root(name: &str) -> bool {
    ["lib.rs", "main.rs"].contains(&name)
}

/// The top-level module that a file is of; none for the root.
fn top(name: &str) -> Option<String> {
    let first = name.split('/').next()?;
    (!is_root(name)).then(|| first.trim_end_matches(".rs").to_owned())
}

/// `["crate", "detect", "pool"]` for `detect/pool.rs`.
fn module_path(name: &str) -> Vec<String> {
    let mut path = vec!["crate".to_owned()];
    if !is_root(name) {
        let parts = name.trim_end_matches(".rs").split('/');
        path.extend(parts.filter(|part| *part != "mod").map(str::to_owned));
    }
    path
}

/// From a name at the root to the module it comes from.
fn re_exported(root: &syn::File, nodes: &BTreeSet<String>, names: &mut BTreeMap<String, String>) {
    for item in &root.items {
        let syn::Item::Use(item) = item else { continue };
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        for (mut path, name) in paths {
            if path
                .first()
                .is_some_and(|first| first == "self" || first == "crate")
            {
                path.remove(0);
            }
            if let Some(module) = path.first().filter(|first| nodes.contains(*first)) {
                names.insert(name, module.clone());
            }
        }
    }
}

/// The paths of a `use` tree, with the name that each has afterwards.
fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, into: &mut Vec<(Vec<String>, String)>) {
    let mut end = |prefix: &[String], name: &syn::Ident, new: &syn::Ident| {
        let mut path = prefix.to_vec();
        path.push(name.to_string());
        into.push((path, new.to_string()));
    };
    match tree {
        syn::UseTree::Name(leaf) => end(prefix, &leaf.ident, &leaf.ident),
        syn::UseTree::Rename(leaf) => end(prefix, &leaf.ident, &leaf.rename),
        syn::UseTree::Glob(_) => into.push((prefix.clone(), "*".to_owned())),
        syn::UseTree::Path(step) => {
            prefix.push(step.ident.to_string());
            flatten(&step.tree, prefix, into);
            prefix.pop();
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, into);
            }
        }
    }
}

/// The paths that a file refers to, from the root of the crate where they are relative.
struct Found {
    module: Vec<String>,
    /// Each with whether a `use` says it.
    paths: Vec<(Vec<String>, bool)>,
}

impl Found {
    fn at(module: Vec<String>) -> Self {
        Self {
            module,
            paths: Vec::new(),
        }
    }

    fn refer(&mut self, mut path: Vec<String>, used: bool) {
        match path.first().map(String::as_str) {
            Some("self") => {
                path.splice(0..1, self.module.clone());
            }
            Some("super") => {
                let up = path.iter().take_while(|step| *step == "super").count();
                let stays = self.module.len().saturating_sub(up).max(1);
                path.splice(0..up, self.module[..stays].to_vec());
            }
            _ => {}
        }
        self.paths.push((path, used));
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        // How many colons have come since the last name.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 && !path.is_empty() {
                        self.refer(std::mem::take(&mut path), false);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    if colons == 2 {
                        self.group(&path, group.stream());
                        path.clear();
                    } else {
                        self.tokens(group.stream());
                    }
                    colons = 0;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    if !path.is_empty() {
                        self.refer(std::mem::take(&mut path), false);
                    }
                    colons = 0;
                }
            }
        }
        if !path.is_empty() {
            self.refer(path, false);
        }
    }

    /// `crate::{a, b}` among the tokens of a macro.
    fn group(&mut self, prefix: &[String], tokens: TokenStream) {
        let mut inner = Self::at(self.module.clone());
        inner.tokens(tokens);
        for (path, _) in inner.paths {
            self.refer(prefix.iter().cloned().chain(path).collect(), false);
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'a> Visit<'a> for Found {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if is_test(&module.attrs) {
            return;
        }
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if is_test(&item.attrs) {
            return;
        }
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        for (path, _) in paths {
            self.refer(path, true);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.refer(names.collect(), false);
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {
        // `pub(in crate::host)` refers to nothing.
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}
