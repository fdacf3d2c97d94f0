use super::*;
use crate::script::{Comm, Each, FOREVER, Op};

const DAEMON: &str = "\
main:
  fork middle
middle:
  setsid
  fork daemon
  await-parent
daemon:
  close-all
  await-parent
  ready
  live 50ms
";

fn script(text: &str) -> Script {
    text.parse::<Named>().unwrap().into_script()
}

/// Line, column and problem of a text that is refused.
fn error(text: &str) -> (usize, usize, String) {
    let error = text.parse::<Named>().unwrap_err();
    (error.line, error.column, error.problem)
}

#[test]
fn a_daemon_is_read_and_printed_as_it_was() {
    let named: Named = DAEMON.parse().unwrap();
    assert_eq!(named.to_string(), DAEMON);
    let fork = |block| Op::Fork { block, count: 1 };
    assert_eq!(
        named.script().blocks,
        [
            vec![fork(1)],
            vec![Op::Setsid, fork(2), Op::AwaitParent],
            vec![
                Op::CloseAll,
                Op::AwaitParent,
                Op::Ready,
                Op::Live { ns: 50_000_000 }
            ],
        ]
    );
}

#[test]
fn lines_semicolons_comments_and_the_order_of_blocks_make_no_difference() {
    let one_line = "# a daemon\n\
        daemon: close-all;await-parent; ready ;; live 50ms # the rest\n\
        main:fork middle;middle:setsid;\tfork daemon x1; await-parent";
    assert_eq!(script(one_line), {
        // The daemon's block is written before the middle one.
        let mut daemon = script(DAEMON);
        daemon.blocks.swap(1, 2);
        daemon.blocks[0] = vec![Op::Fork { block: 2, count: 1 }];
        daemon.blocks[2][1] = Op::Fork { block: 1, count: 1 };
        daemon
    });
}

#[test]
fn arguments_have_their_spelling() {
    let text = "main: fork a x3; barrier 15 of 4; bomb setsid\na: barrier 15 of 4; live forever";
    assert_eq!(
        script(text).blocks,
        [
            vec![
                Op::Fork { block: 1, count: 3 },
                Op::Barrier {
                    index: 15,
                    count: 4
                },
                Op::Bomb { each: Each::Setsid }
            ],
            vec![
                Op::Barrier {
                    index: 15,
                    count: 4
                },
                Op::Live { ns: FOREVER }
            ],
        ]
    );
    assert_eq!(usage("fork").unwrap(), "fork BLOCK [xN]");
    assert_eq!(usage("jump"), None);
}

#[test]
fn mistakes_have_a_line_a_column_and_what_was_expected() {
    for (text, line, column, part) in [
        ("", 1, 1, "expected a block `main:`"),
        ("a: ready", 1, 1, "expected a block `main:`"),
        (
            "# x\n  ready",
            2,
            3,
            "expected a block such as `main:`, found \"ready\"",
        ),
        (
            "main:\n  jump 3",
            2,
            3,
            "expected an operation, found \"jump\"",
        ),
        ("main:\n ready; jump", 2, 9, "operations are live, fork"),
        ("main: live", 1, 11, "expected a time such as"),
        (
            "main: live 5",
            1,
            12,
            "expected a time such as 0, 250us, 50ms, 2s or forever, found \"5\"",
        ),
        (
            "main: live 5ms 6ms",
            1,
            16,
            "expected the end of the operation",
        ),
        ("main: fork", 1, 11, "expected the name of a block"),
        (
            "main: fork b",
            1,
            12,
            "expected the name of a block that is in the script, found \"b\"",
        ),
        ("main: fork a 3\na:", 1, 14, "expected a count such as x3"),
        ("main: barrier 0 2", 1, 17, "expected `of`"),
        ("main: barrier 16 of 1", 1, 7, "barrier 16 does not exist"),
        ("main: bomb fork", 1, 12, "expected setsid, enter-cgroup"),
        (
            "main: fork a\na:\na: ready",
            3,
            1,
            "block a is there already, in line 2",
        ),
        ("main:\nidle:\n", 2, 1, "block idle is never forked"),
        (
            "main:\n  ready\n  fork main",
            1,
            1,
            "block main forks itself",
        ),
        (
            "main: fork a\na: fork b\nb: fork a",
            2,
            1,
            "block a forks itself",
        ),
        (
            "main:\n  live forever\n  ready",
            3,
            3,
            "goes on after an operation that ends the process",
        ),
        ("main: setsid", 1, 7, "leads its group"),
        (
            "main: ready\n await-parent",
            2,
            2,
            "parent is not part of the tree",
        ),
        (
            "main: barrier 0 of 2",
            1,
            7,
            "waits for 2 processes and 1 come",
        ),
        ("main: exit 256", 1, 12, "an exit code, 0 to 255"),
        ("main: nice 20", 1, 12, "a nice value, 0 to 19"),
        ("main: touch 1T", 1, 13, "a size such as"),
        ("main: touch 99999999999G", 1, 13, "a size such as"),
        ("main: rename sixteen-bytes-xx", 1, 14, "at most 15 bytes"),
        ("main: rename \"\\q\"", 1, 14, "at most 15 bytes"),
        ("main: rename \"\\x00\"", 1, 14, "at most 15 bytes"),
        ("main: stop; continue", 1, 13, "has forked no child before"),
        (
            "main: fork a; reap\na: await-parent",
            1,
            15,
            "wait for each other for ever",
        ),
        (
            "main: fork a x200\na: fork b x200\nb:",
            1,
            1,
            "40201 processes; the ledger lists",
        ),
        (
            "Main: ready",
            1,
            1,
            "expected the name of a block: a small letter",
        ),
        ("main: ready \"x", 1, 13, "not closed"),
        (
            "main: ready: x",
            1,
            14,
            "expected an operation, found \"x\"",
        ),
    ] {
        let (l, c, problem) = error(text);
        assert!(problem.contains(part), "{text:?}: {problem}");
        assert_eq!((l, c), (line, column), "{text:?}: {problem}");
    }
}

#[test]
fn each_operation_is_printed_as_it_is_read() {
    let text = "\
main:
  fork-parent a
  fork-silent a
  vfork a
  fork-pidns a
  trace a
  fork b
  await-stopped
  continue
  reap
  subreaper
  threads 3
  spin 5ms
  nice 19
  touch 64M
  open-files 100
  rename \"a b\\n\\xff\\\"\\\\\"
  exit 7
a:
  touch 4097
  crash
b:
  stop
";
    let named: Named = text.parse().unwrap();
    assert_eq!(named.to_string(), text);
    let name = Comm::new(b"a b\n\xff\"\\").unwrap();
    assert!(named.script().ops().any(|op| op == Op::Rename { name }));
    assert_eq!(
        Script::from_bytes(&named.script().to_bytes()).as_ref(),
        Ok(named.script())
    );
    let plain = script("main: rename worker; touch 1024; touch 0").blocks;
    let name = Comm::new(b"worker").unwrap();
    let expected = [
        Op::Rename { name },
        Op::Touch { bytes: 1024 },
        Op::Touch { bytes: 0 },
    ];
    assert_eq!(plain, [expected]);
}

#[test]
fn columns_count_characters() {
    assert_eq!(error("main: # é\n ready é").1, 8);
    assert_eq!(error("main:\n\u{a0}é").1, 2);
}

#[test]
fn what_is_too_long_or_no_text_is_refused() {
    let long = vec![b'#'; 10 << 20];
    let error = Named::read(&long).unwrap_err();
    assert_eq!((error.line, error.column), (1, 1));
    assert!(error.problem.contains("10485760 bytes long"), "{error}");
    let mut most = b"main: ready\n".to_vec();
    most.resize(MAX_BYTES, b'#');
    assert!(Named::read(&most).is_ok());
    most.push(b'#');
    assert!(Named::read(&most).is_err());

    let error = Named::read(b"main:\n  re\xffady").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 5: expected UTF-8, found the byte 0xff"
    );
    let error = Named::read(format!("main: {}", "x".repeat(5000)).as_bytes()).unwrap_err();
    assert!(error.problem.len() < 1000, "{error}");
}

#[test]
fn each_operation_is_in_the_table_once_with_its_usage() {
    let mut words = WORDS.to_vec();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), WORDS.len());
    for word in WORDS {
        assert!(usage(word).unwrap().starts_with(word));
    }
}

#[test]
fn operations_that_change_what_a_process_is_are_read_as_they_are_written() {
    let text = "main: exec 3; exec-from-thread; become-other; io-workers 8; realtime; \
        leave-objects; read-given; exec forever";
    let ops = vec![
        Op::Exec { count: 3 },
        Op::ExecFromThread,
        Op::BecomeOther,
        Op::IoWorkers { count: 8 },
        Op::Realtime,
        Op::LeaveObjects,
        Op::ReadGiven,
        Op::Exec { count: FOREVER },
    ];
    let read = script(text);
    assert_eq!(read.blocks, [ops]);
    assert_eq!(script(&read.to_string()), read);
    assert!(read.executes() && !read.ends_by_itself());
    assert_eq!(read.tasks(), 10, "itself, a thread and the workers");
    for (text, column, part) in [
        ("main: exec", 11, "a number such as 20, or forever"),
        ("main: io-workers -1", 18, "a number, such as 3"),
        ("main: realtime 1", 16, "expected the end of the operation"),
    ] {
        let (line, at, problem) = error(text);
        assert_eq!((line, at), (1, column), "{text}");
        assert!(problem.contains(part), "{text}: {problem}");
    }
    let (_, _, problem) = error("main: exec forever; ready");
    assert!(problem.contains("never"), "{problem}");
}
