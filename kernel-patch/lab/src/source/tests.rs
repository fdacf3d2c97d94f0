use super::*;

/// A fetched tree with one file and one build.
fn tree(cache: &Cache) -> Tree {
    let path = cache.dir("trees/linux-source-9.9_9.9-1").unwrap();
    fs::write(path.join("file.c"), "one\ntwo\nthree\n").unwrap();
    fs::create_dir(path.join("lab-small")).unwrap();
    fs::write(path.join("lab-small/object"), "object").unwrap();
    let origin = TreeOrigin::Package {
        package: "linux-source-9.9".to_owned(),
        version: "9.9-1".to_owned(),
        suite: "configured".to_owned(),
        sha256: "0".repeat(64),
    };
    let record = path.with_file_name("linux-source-9.9_9.9-1.json");
    fs::write(record, serde_json::to_string(&origin).unwrap()).unwrap();
    Tree::find(cache, "9.9").unwrap()
}

const PATCH: &str = "--- a/file.c\n+++ b/file.c\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";

#[test]
fn a_patched_copy_leaves_the_base_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(dir.path())).unwrap();
    let base = tree(&cache);
    let series = dir.path().join("a-prompt");
    fs::create_dir(&series).unwrap();
    fs::write(series.join("0000-cover-letter.patch"), "words").unwrap();
    fs::write(series.join("0001-x.patch"), PATCH).unwrap();
    let patched = base
        .with_series(&cache, std::slice::from_ref(&series), None)
        .unwrap();
    assert_eq!(
        fs::read_to_string(patched.path.join("file.c")).unwrap(),
        "one\n2\nthree\n"
    );
    assert_eq!(
        fs::read_to_string(base.path.join("file.c")).unwrap(),
        "one\ntwo\nthree\n"
    );
    assert_eq!(
        fs::read_to_string(patched.path.join("lab-small/object")).unwrap(),
        "object"
    );
    assert_eq!(patched.label, "a-prompt");
    assert_eq!(patched.patches.len(), 1);
    // Although a version has dots, the next series is another tree.
    let other = dir.path().join("b-job");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("0001-y.patch"), PATCH.replace("+2", "+zwei")).unwrap();
    let second = base.with_series(&cache, &[other], None).unwrap();
    assert_eq!(
        fs::read_to_string(second.path.join("file.c")).unwrap(),
        "one\nzwei\nthree\n"
    );
    // The longer series begins where the shorter one ends, its builds included.
    fs::write(patched.path.join("lab-small/object"), "patched object").unwrap();
    let next = "--- a/file.c\n+++ b/file.c\n@@ -1,3 +1,3 @@\n-one\n+1\n 2\n three\n";
    fs::write(series.join("0002-z.patch"), next).unwrap();
    let longer = base
        .with_series(&cache, std::slice::from_ref(&series), None)
        .unwrap();
    let object = fs::read_to_string(longer.path.join("lab-small/object")).unwrap();
    assert_eq!(object, "patched object");
    for (tree, text) in [(&longer, "1\n2\nthree\n"), (&patched, "one\n2\nthree\n")] {
        assert_eq!(fs::read_to_string(tree.path.join("file.c")).unwrap(), text);
    }
    fs::remove_file(series.join("0002-z.patch")).unwrap();
    // The same content is the same copy.
    assert_eq!(
        base.with_series(&cache, &[series], None).unwrap().path,
        patched.path
    );
}

#[test]
fn a_patch_that_does_not_apply_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(dir.path())).unwrap();
    let base = tree(&cache);
    let series = dir.path().join("bad");
    fs::create_dir(&series).unwrap();
    fs::write(series.join("0001-x.patch"), PATCH.replace("-two", "-zwei")).unwrap();
    let error = format!(
        "{:#}",
        base.with_series(&cache, &[series], None).unwrap_err()
    );
    assert!(error.contains("0001-x.patch does not apply"), "{error}");
}

#[test]
fn a_source_is_found_by_the_beginning_of_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(dir.path())).unwrap();
    tree(&cache);
    assert!(Tree::find(&cache, "newest").is_ok());
    assert!(Tree::find(&cache, "9").is_ok());
    let error = Tree::find(&cache, "9.1").unwrap_err().to_string();
    assert!(
        error.contains("lab fetch --source 9.1") && error.contains("9.9-1"),
        "{error}"
    );
}

#[test]
fn a_directory_that_is_no_tree_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        Tree::own(dir.path())
            .unwrap_err()
            .to_string()
            .contains("not a kernel tree")
    );
}
