use super::*;
use crate::promises;
use crate::trial::{Case, Life, Payload, Returned, Seen};

fn adapter(claims: &str) -> Adapter {
    let text = format!("about = \"x\"\nrun = [\"x\", \"{{program}}\", \"{{args}}\"]\n{claims}");
    Adapter::parse("here/x.toml", &text).unwrap()
}

fn played(life: Life) -> Played {
    Played {
        promise: promises::by_id("end-kill").unwrap(),
        case: Case::new("end-kill/child", 0, Payload::Missing),
        seen: Seen {
            ready_us: Some(1),
            returned: Some(Returned {
                after_us: 1,
                code: Some(7),
                signal: None,
            }),
            at_return: Some(life),
            ..Seen::default()
        },
    }
}

fn scored(claims: &str, lives: &[Life]) -> Score {
    let outcome = Outcome::Played {
        version: "1".to_owned(),
        trials: lives.iter().cloned().map(played).collect(),
    };
    let promises = [promises::by_id("end-kill").unwrap()];
    score(&adapter(claims), &promises, &outcome, "")
}

const CLAIMED: &str = "claims = { end-kill = 0 }";

#[test]
fn one_unknown_is_not_kept_and_one_broken_is_broken() {
    let unknown = || Life::Unknown("x".to_owned());
    for (claims, lives, verdict) in [
        (CLAIMED, vec![Life::Idle, Life::Idle], Verdict::Kept),
        (CLAIMED, vec![Life::Idle, unknown()], Verdict::Unknown),
        (CLAIMED, vec![unknown(), Life::Alive], Verdict::Broken),
        ("", vec![Life::Idle], Verdict::NotClaimed),
        ("", vec![Life::Alive], Verdict::NotClaimed),
    ] {
        let cell = &scored(claims, &lives).cells[0];
        assert_eq!(cell.verdict, verdict, "{cell:?}");
    }
    let cell = &scored(CLAIMED, &[Life::Idle, Life::Alive]).cells[0];
    assert_eq!((cell.kept, cell.broken), (1, 1));
    let again = "allgone-conform x --case end-kill/child";
    assert_eq!(cell.again.as_deref(), Some(again));
    assert!(cell.why.as_ref().unwrap().contains("alive"));
}

fn all(score: Score) -> Scores {
    Scores {
        schema: SCHEMA,
        suite: String::new(),
        kernel: String::new(),
        promises: vec!["end-kill".to_owned()],
        seed: 0,
        options: String::new(),
        launchers: vec![score],
    }
}

#[test]
fn a_baseline_fails_only_on_what_was_kept() {
    let kept = all(scored(CLAIMED, &[Life::Idle]));
    let broken = all(scored(CLAIMED, &[Life::Alive]));
    assert_eq!(regressions(&kept, &kept), []);
    assert_eq!(regressions(&broken, &broken), []);
    assert_eq!(regressions(&broken, &kept), []);
    let found = regressions(&kept, &broken);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].now, Some(Verdict::Broken));
    // A promise that was kept and has lost its claim is a regression, too.
    let unclaimed = all(scored("", &[Life::Idle]));
    assert_eq!(regressions(&kept, &unclaimed).len(), 1);
    assert!(kept.all_kept() && !broken.all_kept() && unclaimed.all_kept());
}

#[test]
fn what_is_written_is_read_again_and_a_later_schema_is_refused() {
    let scores = all(scored(CLAIMED, &[Life::Idle]));
    let text = serde_json::to_string(&scores).unwrap();
    assert_eq!(Scores::read(&text).unwrap(), scores);
    let later = text.replace("\"schema\":1", "\"schema\":2");
    assert!(Scores::read(&later).unwrap_err().contains("schema 2"));
}
