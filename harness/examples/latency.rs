//! scratch
#![allow(
    clippy::all,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "scratch"
)]
use harness::MonoNs;
use harness::cgroup::Cgroup;
use harness::detect::{self, Verdict};
use harness::expect::Plane;
use harness::param::ParamPoint;
use harness::sys::{fork, ledger::Ledger, time};
use harness::trial::*;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

fn actor() {
    let led = unsafe_fd(4);
    let ledger = Ledger::open(led.as_fd()).unwrap();
    let mut s = String::new();
    std::fs::File::from(unsafe_fd(3)).read_to_string(&mut s).unwrap();
    let mut it = s.split(' ');
    let life: u64 = it.next().unwrap().parse().unwrap();
    let tree: u64 = it.next().unwrap().parse().unwrap();
    ledger.announce();
    let row = ledger.born(std::process::id() as i32);
    if tree == 1 {
        // fork-exit: child lives on, with own session
        if fork::actor_fork().unwrap().is_some() {
            ledger.exiting(row);
            harness::sys::spawn::exit_now(0)
        }
    }
    if tree == 2 {
        nix::unistd::setsid().ok();
        if fork::actor_fork().unwrap().is_some() {
            ledger.exiting(row);
            harness::sys::spawn::exit_now(0)
        }
        nix::unistd::setsid().unwrap();
        for fd in 0..20 {
            nix::unistd::close(fd).ok();
        }
    }
    if life > 0 {
        let at = time::now() + Duration::from_nanos(life);
        while !at.has_passed() {
            time::sleep_until(at).ok();
        }
    }
    ledger.exiting(row);
    harness::sys::spawn::exit_now(0);
}
fn unsafe_fd(n: i32) -> OwnedFd {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{n}"))
        .unwrap()
        .into()
}

fn main() {
    if std::env::args().next().as_deref() == Some("actor") {
        return actor();
    }
    let a: Vec<String> = std::env::args().skip(1).collect();
    let n: usize = a[0].parse().unwrap();
    let life: u64 = a[1].parse().unwrap();
    let tree: u64 = a[2].parse().unwrap();
    let ids: Vec<&str> = a[3..].iter().map(|s| s.as_str()).collect();
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let root = Cgroup::open("/sys/fs/cgroup/unified").unwrap();
    let run = root.create(&format!("scenario-lat{}", std::process::id())).unwrap();
    let control = run.create("control").unwrap();
    let host = harness::host::Host {
        kernel: harness::host::KernelVersion(6, 18),
        euid: 0,
        base: Some(harness::host::Base {
            cgroup: run.try_clone().unwrap(),
            belts: harness::host::Belts::None,
            how: String::new(),
            changes: vec![],
        }),
    };
    let dets: Vec<_> = if ids.is_empty() {
        detect::DETECTORS.to_vec()
    } else {
        ids.iter().map(|i| detect::by_id(i).expect(i)).collect()
    };
    for d in &dets {
        let s = d.probe(&host);
        println!("{} {:?}", d.spec().id, s);
    }
    let mut lat: Vec<Vec<f64>> = vec![vec![]; dets.len()];
    let mut odd: Vec<std::collections::BTreeMap<String, usize>> = vec![Default::default(); dets.len()];
    let exe = std::fs::File::open("/proc/self/exe").unwrap();
    for i in 0..n {
        for (k, d) in dets.iter().enumerate() {
            let t = run.create(&format!("t{i}-{k}")).unwrap();
            let cg = t.create("site").unwrap();
            let ledger = Ledger::create().unwrap();
            let site = Site {
                cgroup: cg,
                parent: t.try_clone().unwrap(),
                control: control.try_clone().unwrap(),
                v1: None,
                ledger,
                credentials: None,
                plane: Plane::Detect,
                params: ParamPoint::default(),
            };
            let script = nix::sys::memfd::memfd_create(c"s", nix::sys::memfd::MFdFlags::empty()).unwrap();
            let mut f = std::fs::File::from(script);
            write!(f, "{life} {tree} ").unwrap();
            let w = Workload {
                exe: exe.try_clone().unwrap().into(),
                argv: vec![c"actor".to_owned()],
                envp: vec![],
                input: f.into(),
            };
            let (r, wr) = nix::unistd::pipe().unwrap();
            let o = fork::worker(0, Some(control.as_fd()), || {
                let mut plan = SpawnPlan::new(&site, &w).unwrap();
                let mut armed = match d.arm(&site, &mut plan) {
                    Ok(a) => a,
                    Err(e) => {
                        nix::unistd::write(&wr, format!("armerr:{e}").as_bytes()).unwrap();
                        return 1;
                    }
                };
                let root = plan.spawn().unwrap();
                drop(plan);
                armed.attach(&root).unwrap();
                let v = armed.wait(time::now() + Duration::from_millis(1500)).unwrap();
                let c = armed.disarm();
                let s = match v {
                    Verdict::Empty { woke_ns, decided_ns } => format!("E {woke_ns} {decided_ns}"),
                    o => format!("V {o:?}"),
                };
                nix::unistd::write(&wr, format!("{s}|{c:?}").as_bytes()).unwrap();
                0
            })
            .unwrap();
            drop(wr);
            let mut out = String::new();
            std::fs::File::from(r).read_to_string(&mut out).unwrap();
            let _ = &o;
            loop {
                match site.cgroup.events() {
                    Ok(e) if e.populated => {}
                    _ => break,
                }
            }
            loop {
                match nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::empty())) {
                    Err(nix::errno::Errno::ECHILD) => break,
                    _ => {}
                }
            }
            let sums = site.ledger.sums();
            let (v, c) = out.split_once('|').unwrap_or((&out, ""));
            let p: Vec<&str> = v.split(' ').collect();
            if i == 0 {
                println!("{}: {} {}", d.spec().id, v, c);
            }
            if p[0] == "E" {
                let le = sums.last_exit.unwrap_or(MonoNs(0)).0 as i64;
                let dec: i64 = p[2].parse().unwrap();
                if dec < le {
                    *odd[k].entry("EARLY".into()).or_default() += 1;
                } else {
                    lat[k].push((dec - le) as f64 / 1000.0);
                }
            } else {
                *odd[k]
                    .entry(v.split(" {").next().unwrap().chars().take(80).collect())
                    .or_default() += 1;
            }
            match site.cgroup.remove_tree() {
                Ok(()) => {}
                Err((_, e)) => {
                    if !e.to_string().contains("ENOENT") {
                        println!("rm {e}")
                    }
                }
            }
            t.remove_tree().map_err(|(_, e)| e).unwrap();
            let g = time::now() + Duration::from_millis(2);
            time::sleep_until(g).ok();
        }
    }
    control.remove_tree().map_err(|(_, e)| e).unwrap();
    run.remove_tree().map_err(|(_, e)| e).unwrap();
    for (k, d) in dets.iter().enumerate() {
        let v = &mut lat[k];
        v.sort_by(f64::total_cmp);
        let q = |p: f64| {
            v.get(((v.len() as f64 - 1.0) * p).round().max(0.0) as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        println!(
            "{:26} n={} p50={:.0} p90={:.0} p99={:.0} max={:.0} us {:?}",
            d.spec().id,
            v.len(),
            q(0.5),
            q(0.9),
            q(0.99),
            q(1.0),
            odd[k]
        );
    }
}
