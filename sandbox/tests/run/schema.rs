//! Reports as they are really written, of every kind of end, against the schema that is published.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Whose, allgone, code, errors, has, users, within};

fn schema_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("report.schema.json")
}

/// The report of a run, which has the published form; and the exit code.
fn reported(args: &[&str]) -> (i32, Value) {
    reported_and(args, || {})
}

/// The same of a run that leaves something, which `end` ends.
fn reported_and(args: &[&str], end: impl FnOnce()) -> (i32, Value) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report");
    let options = [&["--report", file.to_str().unwrap()][..], args].concat();
    let mut run = allgone(Whose::Own, &options);
    let output = run.command.output().unwrap();
    end();
    run.nothing_left();
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let schema: Value = serde_json::from_slice(&fs::read(schema_path()).unwrap()).unwrap();
    if let Err(e) = conforms(&report, &schema, &schema) {
        panic!("{args:?}: {e}\n{report:#}");
    }
    let keys =
        |of: &Value| -> BTreeSet<String> { of.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(
        keys(&report),
        keys(&schema["properties"]),
        "what is written is published"
    );
    assert_eq!(report["exit_code"], code(&output), "{}", errors(&output));
    (code(&output), report)
}

/// Whether `value` is of the form that `schema` says: as much of JSON Schema as is used there. A
/// keyword that is not known here is an error.
fn conforms(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let is = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    };
    for (keyword, rule) in schema.as_object().unwrap() {
        let good = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let to = rule.as_str().unwrap().strip_prefix('#').unwrap();
                conforms(value, root.pointer(to).unwrap(), root)?;
                true
            }
            "type" => rule
                .as_array()
                .map_or_else(|| is(rule), |any| any.iter().any(is)),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            // It says nothing of what is no object.
            "required" => {
                let mut names = rule.as_array().unwrap().iter();
                !value.is_object() || names.all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        conforms(value, rule, root)?;
                    }
                }
                true
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    conforms(value, rule, root)?;
                }
                true
            }
            "oneOf" => {
                let rules = rule.as_array().unwrap().iter();
                rules
                    .filter(|rule| conforms(value, rule, root).is_ok())
                    .count()
                    == 1
            }
            other => panic!("no keyword {other}"),
        };
        if !good {
            return Err(format!("{value} breaks {keyword} of {schema}"));
        }
    }
    Ok(())
}

#[test]
fn what_breaks_a_schema_is_found() {
    let schema = json!({
        "type": "object", "required": ["a"],
        "properties": {
            "a": {"type": ["integer", "null"]},
            "b": {"type": "array", "items": {"enum": [1, "x"]}},
            "c": {"oneOf": [{"const": 1}, {"type": "string"}, {"enum": ["twice"]}]},
            "d": {"$ref": "#/properties/a"},
        },
    });
    for value in [
        json!({"a": 1}),
        json!({"a": null, "b": [1, "x"], "c": "s", "d": 2}),
    ] {
        assert_eq!(conforms(&value, &schema, &schema), Ok(()));
    }
    for value in [
        json!({}),
        json!([]),
        json!({"a": "1"}),
        json!({"a": 1.5}),
        json!({"a": 1, "b": [2]}),
        json!({"a": 1, "c": 2}),
        json!({"a": 1, "c": "twice"}),
        json!({"a": 1, "d": "2"}),
    ] {
        assert!(conforms(&value, &schema, &schema).is_err(), "{value}");
    }
}

#[test]
fn ends_by_itself_by_a_signal_and_by_limits() {
    for tier in ["namespace", "traced", "cgroup"] {
        let run = |options: &[&str], script: &str| {
            let end = ["--", "sh", "-c", script];
            reported(&[&["--tier", tier], options, &end].concat())
        };
        let (_, report) = run(&[], "exit 7");
        if report["error_kind"] == "tier" {
            // It is not to be had here, which is reported, too.
            assert_eq!(report["proof"], json!({"proved": true, "started": false}));
            continue;
        }
        assert_eq!(
            (&report["main"], &report["ended_by"]),
            (&json!({"exit": 7}), &json!("itself"))
        );
        assert!(report["usage"]["voluntary_switches"].as_u64().unwrap() > 0);
        let (_, report) = run(&[], "kill -9 $$");
        assert_eq!(report["main"]["signal"], 9);
        let (ended, report) = run(&["-t", "200ms"], "sleep 100");
        assert_eq!((ended, &report["ended_by"]), (124, &json!("timeout")));
        assert_eq!(report["sigkill_needed"], true);
        let (ended, report) = run(&["--cpu-time", "50ms"], "while :; do :; done");
        assert_eq!((ended, &report["ended_by"]), (124, &json!("cpu-time")));
        let (_, report) = run(&["--wait", "main"], "(setsid sleep 100 &); exit 1");
        assert_eq!(report["ended_by"], "main-ended");
        let (ended, report) = reported(&["--tier", tier, "--", "no-such-program"]);
        assert_eq!((ended, &report["error_kind"]), (127, &json!("not-found")));
        let (ended, report) = reported(&["--tier", tier, "--", "/etc/passwd"]);
        assert_eq!(
            (ended, &report["error_kind"]),
            (126, &json!("not-executable"))
        );
    }
}

#[test]
fn out_of_memory_is_told_from_other_kills() {
    let eater = "x=$(head -c 1M /dev/zero | tr '\\0' x); while :; do x=$x$x; done";
    let (_, report) = reported(&["--memory", "32M", "-t", "60s", "--", "bash", "-c", eater]);
    let limited = report["error_kind"] != "limit" && report["error_kind"] != "tier";
    if !has("memory-limit", limited) {
        assert_eq!(report["proof"]["started"], false);
        return;
    }
    assert!(report["oom_kills"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(report["ended_by"], "itself");
    if let Some(peak) = report["memory_peak_bytes"].as_u64() {
        assert!((16 << 20..=33 << 20).contains(&peak), "{peak}");
    }
}

#[test]
fn what_is_refused_is_reported() {
    let (ended, report) = reported(&["--tier", "traced", "--pids", "5", "--", "true"]);
    assert_eq!(ended, 125);
    let kind = report["error_kind"].as_str().unwrap();
    assert!(["limit", "tier"].contains(&kind), "{report:#}");
    assert_eq!(report["tier"], Value::Null);
    assert_eq!(report["refused"][0]["tier"], "traced");
}

/// One error each, and not one for each tier.
#[test]
fn an_ordinary_user_becomes_no_other() {
    for (options, why) in [
        (["--user", "1"], "setresuid"),
        (["--user-range", "auto"], "only root"),
    ] {
        let options = [&options[..], &["--", "true"]].concat();
        let output = allgone(*users().last().unwrap(), &options).output();
        let told = errors(&output);
        assert_eq!(code(&output), 125, "{told}");
        assert!(told.contains(why) && !told.contains("mechanism"), "{told}");
    }
}

/// What SIGKILL does not end, which only a freezer of version 1 can bring about without a fault of
/// the kernel: it is reported as not proved.
#[test]
fn an_end_without_a_proof_is_reported_as_that() {
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    let is_root = users().contains(&Whose::Ordinary);
    if !has("root", is_root) || !has("v1-freezer", freezer.join("cgroup.procs").exists()) {
        return;
    }
    let frozen = freezer.join(format!("allgone-test-{}", std::process::id()));
    fs::create_dir(&frozen).unwrap();
    let script = format!(
        "(echo 0 > {frozen:?}/tasks && exec sleep 1000 >/dev/null 2>&1) & \
         until grep -q . {frozen:?}/tasks; do :; done; \
         echo FROZEN > {frozen:?}/freezer.state; sleep 1000"
    );
    let options = ["--tier", "cgroup", "-t", "300ms", "--", "sh", "-c", &script];
    let (ended, report) = reported_and(&options, || {
        fs::write(frozen.join("freezer.state"), "THAWED").unwrap();
        let removed = within(Duration::from_secs(5), || fs::remove_dir(&frozen).is_ok());
        assert!(removed, "{frozen:?}");
    });
    if !has("cgroup2-write", report["tier"] != Value::Null) {
        return;
    }
    assert_eq!((ended, &report["error_kind"]), (123, &json!("unproved")));
    assert_eq!(report["proof"]["proved"], false);
    assert!(
        report["proof"]["why"].as_str().unwrap().contains("pid"),
        "{report:#}"
    );
}
