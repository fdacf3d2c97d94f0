//! `scenario show`: what a scenario plays, and what is expected of whom.

use harness::expect::{Expectation, Plane, Reach, Scope, Sweep};
use harness::param::{self, Axis, ParamPoint};
use harness::trial::Expected;

use super::args::ShowArgs;
use super::conclude::print;
use super::exit::{Exit, Failure};
use super::list::kebab;
use super::plan::expected_in_words;
use super::request::assignments;
use super::script_file;
use super::select::Unknown;
use super::table;
use crate::{SCENARIOS, Scenario, Scripted};

/// The ways in which a strategy reaches what it reaches.
const SWEEPS: [Sweep; 4] = [Sweep::Once, Sweep::UntilNone, Sweep::Held, Sweep::Atomic];

/// Prints one scenario.
pub(super) fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let scenario = match (&args.script, &args.scenario) {
        (Some(path), _) => {
            let (name, script) = script_file::read(path)?;
            Scripted::leaked(&name, script.into_script())
        }
        (None, Some(id)) => by_id(id)?,
        (None, None) => return Err(Failure::usage("no scenario is named")),
    };
    print(&text(scenario, &args.set)?)?;
    Ok(Exit::Held)
}

fn by_id(id: &str) -> Result<&'static dyn Scenario, Failure> {
    crate::by_id(id).ok_or_else(|| {
        let known: Vec<&str> = SCENARIOS.iter().map(|s| s.spec().id).collect();
        Failure::usage(Unknown::new("scenario", id, &known))
    })
}

fn text(scenario: &'static dyn Scenario, sets: &[String]) -> Result<String, Failure> {
    let spec = scenario.spec();
    let mut text = format!("{}: {}\n", spec.id, spec.summary);
    for axis in spec.axes {
        let names = (axis.name, axis.doc);
        text.push_str(&format!("\naxis {}: {}", names.0, names.1));
    }
    if !spec.axes.is_empty() {
        text.push('\n');
    }
    for plane in spec.planes {
        let at = point(spec.axes, *plane, sets)?;
        text.push_str(&in_plane(scenario, &at, *plane)?);
    }
    if !spec.sources.is_empty() {
        text.push_str(&format!("\nSources: {}\n", spec.sources.join("; ")));
    }
    Ok(text)
}

/// The values of all axes: those that are set, and defaults.
fn point(axes: &'static [Axis], plane: Plane, sets: &[String]) -> Result<ParamPoint, Failure> {
    let mut at = param::defaults(axes, plane);
    for (name, values) in assignments(sets)? {
        let known: Vec<&str> = axes.iter().map(|axis| axis.name).collect();
        let axis = axes.iter().find(|axis| axis.name == name);
        let axis = axis.ok_or_else(|| Failure::usage(Unknown::new("axis", &name, &known)))?;
        let [value] = &values[..] else {
            return Err(Failure::usage(format!(
                "--set {name}: one value can be shown at a time"
            )));
        };
        at.set(axis, axis.parse(value).map_err(Failure::usage)?);
    }
    Ok(at)
}

fn in_plane(
    scenario: &'static dyn Scenario,
    at: &ParamPoint,
    plane: Plane,
) -> Result<String, Failure> {
    let axes = scenario.spec().axes.iter();
    let values: Vec<String> = axes
        .map(|axis| format!(" {}={}", axis.name, axis.format(at.get(axis))))
        .collect();
    let (title, column) = match plane {
        Plane::Detect => ("Watched until it ends", "a detector that sees"),
        Plane::Kill => ("Killed when it is ready", "a strategy that reaches"),
    };
    let script = scenario.script(at, plane, 0).map_err(Failure::usage)?;
    let mut table = table::narrow(&[column, "is expected to be"]);
    match plane {
        Plane::Detect => {
            for scope in Scope::ALL {
                let expected = scenario.expect(at, scope);
                table.add_row([kebab(&scope), said(expected)]);
            }
        }
        Plane::Kill => {
            for scope in Scope::ALL {
                for (sweeps, expected) in by_sweep(scenario, at, scope) {
                    table.add_row([format!("{}{sweeps}", kebab(&scope)), expected]);
                }
            }
        }
    }
    Ok(format!(
        "\n{title}{}\n\n{}\n{}\n",
        values.concat(),
        indented(&script.to_string()),
        table.trim_fmt()
    ))
}

fn said(expected: Expectation) -> String {
    expected_in_words(Expected::Detect(expected))
}

/// What is expected for each sweep; one line where all are alike.
fn by_sweep(scenario: &dyn Scenario, at: &ParamPoint, scope: Scope) -> Vec<(String, String)> {
    let mut lines: Vec<(Vec<String>, String)> = Vec::new();
    for sweep in SWEEPS {
        let expected = Expected::Kill(scenario.expect_kill(at, Reach { scope, sweep }));
        let words = expected_in_words(expected);
        match lines.iter_mut().find(|(_, known)| *known == words) {
            Some((sweeps, _)) => sweeps.push(kebab(&sweep)),
            None => lines.push((vec![kebab(&sweep)], words)),
        }
    }
    let alike = lines.len() == 1;
    let name = |sweeps: Vec<String>| match alike {
        true => String::new(),
        false => format!(", {}", sweeps.join(" or ")),
    };
    lines
        .into_iter()
        .map(|(sweeps, words)| (name(sweeps), words))
        .collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use actor::text::Named;

    use super::*;

    /// The scripts in a text, as they are printed: from their first label to the next line that is
    /// not indented.
    fn scripts(text: &str) -> Vec<Named> {
        let starts = text.split("    main:\n").skip(1);
        let script = |rest: &str| {
            let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
            let text: String = lines.map(|line| format!("{line}\n")).collect();
            format!("main:\n{text}").parse().unwrap()
        };
        starts.map(script).collect()
    }

    #[test]
    fn each_scenario_is_shown_with_scripts_that_can_be_run() {
        for scenario in SCENARIOS {
            let text = text(*scenario, &[]).map_err(|f| f.error).unwrap();
            let spec = scenario.spec();
            let shown = scripts(&text);
            assert_eq!(shown.len(), spec.planes.len(), "{text}");
            for (plane, shown) in spec.planes.iter().zip(shown) {
                let at = param::defaults(spec.axes, *plane);
                assert_eq!(&scenario.script(&at, *plane, 0).unwrap(), shown.script());
            }
            assert!(Scope::ALL.iter().all(|scope| text.contains(&kebab(scope))));
        }
    }

    #[test]
    fn an_axis_can_be_set_and_a_wrong_one_is_named() {
        let scenario = crate::by_id("setsid").unwrap();
        let shown = |set: &str| text(scenario, &[set.to_owned()]).map_err(|f| f.error.to_string());
        let text = shown("lifetime=7ms").unwrap();
        assert!(
            text.contains("live 7ms") && text.contains("lifetime=7ms"),
            "{text}"
        );
        assert!(shown("life=7ms").unwrap_err().contains("unknown axis"));
        assert!(shown("lifetime=1ms,2ms").unwrap_err().contains("one value"));
        assert!(
            by_id("setsit")
                .map(|_| ())
                .map_err(|f| f.error.to_string())
                .unwrap_err()
                .contains("setsid")
        );
    }
}
