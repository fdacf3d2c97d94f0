use super::*;

const GOOD: &str = "about = \"x\"\nrun = [\"x\", \"{program}\", \"{args}\"]\n";

fn mistake(text: &str) -> String {
    Adapter::parse("dir/x.toml", text).unwrap_err().to_string()
}

#[test]
fn a_mistake_has_a_line_and_a_column() {
    for (text, said) in [
        ("about = \"x\"\nrun = ", "x.toml:2:"),
        ("about = \"x\"\n", "x.toml:1:1: missing field `run`"),
        (
            &format!("{GOOD}graze_ms = 5\n"),
            "x.toml:3:1: unknown field `graze_ms`",
        ),
        (&format!("{GOOD}grace_ms = -5\n"), "x.toml:3:12: "),
        (
            &format!("{GOOD}limit = [\"x\", \"{{secs}}\"]\n"),
            "x.toml:3:9: `{secs}` means nothing",
        ),
        (
            &format!("{GOOD}limit = [\"x\"]\n"),
            "x.toml:3:9: the command names no program",
        ),
        (
            &format!("{GOOD}stop = []\n"),
            "x.toml:3:8: a command needs at least one word",
        ),
        (
            &format!("{GOOD}needs = [\"luck\"]\n"),
            "x.toml:3:9: `luck` is no need",
        ),
        (
            &format!("{GOOD}claims = {{ ende = 1 }}\n"),
            "x.toml:3:12: there is no promise `ende`",
        ),
        (
            &format!("{GOOD}claims = {{ kill = 9 }}\n"),
            "x.toml:3:19: a level is 0 to 4",
        ),
        (
            "about = \"ä\"\nrun = [\"x-{args}\"]\n",
            "x.toml:2:7: `{args}` has to be a word",
        ),
    ] {
        let told = mistake(text);
        assert!(told.contains(said), "{told} does not say {said}");
    }
}

#[test]
fn every_shipped_adapter_is_one_and_every_file_is_shipped() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters");
    let names = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<String> = names
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let ids: Vec<_> = SHIPPED.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, files, "the list in shipped.rs is sorted and complete");
    for id in ids {
        let adapter = Adapter::load(id).unwrap();
        assert!(adapter.id == id && !adapter.about.is_empty());
        let has_version = !adapter.version.words().is_empty() || !adapter.package.is_empty();
        assert!(has_version, "{id}: its version cannot be found");
    }
    let unknown = Adapter::load("timeou").unwrap_err().to_string();
    assert!(unknown.contains("is timeout meant?"), "{unknown}");
}

#[test]
fn places_are_filled() {
    let args = ["a b".to_owned(), "it's".to_owned()];
    let values = Values {
        program: "/p",
        args: &args,
        id: "i",
        dir: "/d",
        limit_ms: 1_500,
    };
    let template = Template::of([
        "x",
        "{s}s",
        "{args}",
        "{dir}/{id}",
        "{command}",
        "{ms}",
        "${HOME}",
    ]);
    let words = template.expand(&values);
    let wanted = [
        "x",
        "1.5s",
        "a b",
        "it's",
        "/d/i",
        r"/p 'a b' 'it'\''s'",
        "1500",
        "${HOME}",
    ];
    assert_eq!(words, wanted);
}
