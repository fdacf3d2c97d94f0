use std::collections::BTreeSet;

use rand::SeedableRng;

use super::*;
use crate::adapter::Adapter;
use crate::trial::{Payload, Returned};

fn adapter() -> Adapter {
    let text = "about = \"x\"\nrun = [\"x\", \"{program}\", \"{args}\"]\n\
                limit = [\"x\", \"{s}\", \"{program}\", \"{args}\"]\nstop = [\"x\"]\n\
                timed_out = [124]\n";
    Adapter::parse("x.toml", text).unwrap()
}

fn cases(promise: &dyn Promise, thorough: bool) -> Vec<Case> {
    let adapter = adapter();
    promise.cases(&mut Plan {
        adapter: &adapter,
        ready_us: 1_000,
        runs: 3,
        thorough,
        random: rand_chacha::ChaCha8Rng::seed_from_u64(1),
    })
}

#[test]
fn promises_are_sorted_and_have_pages_and_cases() {
    let ids: Vec<_> = PROMISES.iter().map(|p| p.id()).collect();
    let sorted: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(ids, sorted.into_iter().collect::<Vec<_>>());
    assert_eq!(ids, crate::adapter::PROMISE_IDS, "what adapters may claim");
    for promise in PROMISES {
        let page = page(promise);
        assert!(page.lines().count() > 3, "{page}");
        let cases = cases(promise, false);
        assert!(!cases.is_empty(), "{promise:?}");
        for case in cases {
            assert!(
                case.id.starts_with(&format!("{}/", promise.id())),
                "{case:?}"
            );
            assert!(case.level <= 4);
        }
    }
}

#[test]
fn every_script_can_be_played() {
    for promise in PROMISES {
        for case in cases(promise, true) {
            if let Payload::Script(text) | Payload::Bare(text) = &case.payload {
                let script = actor::text::Named::read(text.as_bytes());
                assert!(script.is_ok(), "{}: {text}\n{script:?}", case.id);
            }
        }
    }
}

fn returned(code: i32) -> Seen {
    Seen {
        ready_us: Some(1),
        returned: Some(Returned {
            after_us: 700_000,
            code: Some(code),
            signal: None,
        }),
        at_return: Some(Life::Idle),
        settled: Some(Life::Idle),
        ..Seen::default()
    }
}

#[test]
fn unknown_is_never_kept() {
    let adapter = adapter();
    for promise in PROMISES {
        for case in cases(promise, false) {
            let trouble = Seen {
                trouble: Some("x".to_owned()),
                ..returned(7)
            };
            let judged = promise.judge_all(&[(&case, &trouble)], &adapter);
            assert!(!judged.contains(&Judged::Kept), "{}: {judged:?}", case.id);
            // Nothing was seen at all.
            let judged = promise.judge_all(&[(&case, &Seen::default())], &adapter);
            assert!(!judged.contains(&Judged::Kept), "{}: {judged:?}", case.id);
        }
    }
    let case = Case::new("end-kill/child", 0, Payload::Missing);
    let unknown = Seen {
        at_return: Some(Life::Unknown("EACCES".to_owned())),
        ..returned(7)
    };
    let judged = by_id("end-kill").unwrap().judge(&case, &unknown, &adapter);
    assert_eq!(judged, Judged::Unknown("EACCES".to_owned()));
}

#[test]
fn dead_at_return_and_dead_later_are_scored_apart() {
    let adapter = adapter();
    let case = Case::new("x", 0, Payload::Missing);
    let early = Seen {
        at_return: Some(Life::Alive),
        ..returned(7)
    };
    let judge = |id: &str, seen: &Seen| by_id(id).unwrap().judge(&case, seen, &adapter);
    assert!(matches!(judge("end-kill", &early), Judged::Broken(_)));
    assert_eq!(judge("end-kill-later", &early), Judged::Kept);
    // A launcher that kills does not wait.
    let mut killed = returned(7);
    killed.returned.as_mut().unwrap().after_us = 1_000;
    assert!(matches!(judge("end-wait", &killed), Judged::Broken(_)));
    assert_eq!(judge("end-wait", &returned(7)), Judged::Kept);
    assert!(matches!(judge("end-wait", &returned(0)), Judged::Broken(_)));
}

#[test]
fn a_limit_has_to_be_reported() {
    let adapter = adapter();
    let case = Case::new("limit/alone", 0, Payload::Missing);
    let judge = |seen: &Seen| by_id("limit").unwrap().judge(&case, seen, &adapter);
    assert_eq!(judge(&returned(124)), Judged::Kept);
    assert!(matches!(judge(&returned(0)), Judged::Broken(_)));
}

#[test]
fn lateness_is_a_difference_of_medians() {
    let adapter = adapter();
    let late = by_id("late").unwrap();
    let cases = cases(late, false);
    let judge = |own: u64, bare: u64| {
        let seen = |case: &Case| Seen {
            late_us: Some(if case.id == "late/exit" { own } else { bare }),
            ..returned(7)
        };
        let all: Vec<Seen> = cases.iter().map(seen).collect();
        let pairs: Vec<_> = cases.iter().zip(&all).collect();
        late.judge_all(&pairs, &adapter)
    };
    assert!(judge(12_000, 200).iter().all(|j| *j == Judged::Kept));
    assert!(judge(80_000, 60_000).iter().all(|j| *j == Judged::Kept));
    assert!(judge(50_200, 200).iter().all(|j| *j != Judged::Kept));
}
