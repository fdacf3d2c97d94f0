//! `--net public`, between two network namespaces of the test that have no route out: one is the
//! host's, the other plays the local network and the Internet.

use std::process::{Command, Output};

use super::{Shared, closed, printed};
use crate::support::{Whose, allgone, code, errors, has};

/// An address in each row of the registries that can be given to an interface.
const REACHABLE: &[&str] = &[
    "10.0.0.1",
    "100.64.0.1",
    "169.254.0.1",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "64:ff9b::1",
    "64:ff9b:1::1",
    "100::1",
    "100:0:0:1::1",
    "2001:0:1::1",
    "2001:2::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "fd00::1",
    "fec0::1",
    // On the link and of this machine, though they look like the Internet's.
    "9.9.9.2",
    "2a00:9::2",
];

/// In each other row.
const UNREACHABLE: &[&str] = &[
    "0.0.0.0",
    "0.0.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "9.9.9.1",
    "::",
    "::1",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:10.0.0.1",
    "2a00:9::1",
    "fe80::1",
    "ff02::1",
];

const PUBLIC: &[&str] = &["8.8.8.8", "2600::1"];
const RESOLVER: &str = "10.9.9.9";

/// The other side: its addresses in the arguments; everything listens on TCP 80 and 53, answers on
/// UDP 7 and 53, and on UDP 9 answers from the first address before the right one.
const SERVER: &str = r#"
    use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6); use strict; my (%udp, @all);
    sub at { my ($a, $p) = @_; return $a =~ /:/ ? pack_sockaddr_in6($p, inet_pton(AF_INET6, $a))
             : pack_sockaddr_in($p, inet_aton($a)) }
    for my $a (@ARGV) {
        my $f = $a =~ /:/ ? AF_INET6 : AF_INET;
        for my $p (80, 53) {
            my $s; socket($s, $f, SOCK_STREAM, 0) && bind($s, at($a, $p)) && listen($s, 16)
                or die "$a $p $!";
            push @all, $s;
        }
        for my $p (7, 9, 53) {
            my $s; socket($s, $f, SOCK_DGRAM, 0) && bind($s, at($a, $p)) or die "$a $p $!";
            $udp{$a, $p} = $s;
        }
    }
    $| = 1; print "ready\n"; close STDOUT;
    while (1) {
        my $bits = ""; vec($bits, fileno($_), 1) = 1 for values %udp;
        select($bits, undef, undef, 60) or exit;
        for my $k (keys %udp) {
            next unless vec($bits, fileno($udp{$k}), 1);
            my ($a, $p) = split /$;/, $k;
            my $from = recv($udp{$k}, my $text, 9000, 0);
            if ($p == 9) { send($udp{$ARGV[0], 9}, "private", 0, $from) }
            send($udp{$k}, $p == 9 ? "public" : "got" . length $text, 0, $from);
        }
    }
"#;

/// What the program tries: `tcp,ADDRESS,PORT`, `udp`, `big` (a datagram in fragments), `any`
/// (an answer from anywhere), `bind,ADDRESS,PORT`. Prints each with `ok`, an answer or an error.
const CLIENT: &str = r#"
    use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6); use strict; $| = 1;
    sub tried {
        my ($how, $a, $p) = @_; my $f = $a =~ /:/ ? AF_INET6 : AF_INET;
        my $at = $a =~ /:/ ? pack_sockaddr_in6($p, inet_pton(AF_INET6, $a))
                 : pack_sockaddr_in($p, inet_aton($a));
        socket(my $s, $f, $how eq "tcp" ? SOCK_STREAM : SOCK_DGRAM, 0) or return 0 + $!;
        if ($how eq "bind") { return bind($s, $at) ? "ok" : 0 + $! }
        if ($how eq "tcp") { return connect($s, $at) ? "ok" : 0 + $! }
        my $text = "x" x ($how eq "big" ? 4000 : 1);
        defined send($s, $text, 0, $at) or return 0 + $!;
        my $bits = ""; vec($bits, fileno($s), 1) = 1;
        select($bits, undef, undef, 20) or return "silence";
        defined recv($s, $text, 9000, 0) or return 0 + $!; return $text;
    }
    for my $try (@ARGV) {
        if ($try eq "wait") { print "waiting\n"; readline(STDIN); next }
        if ($try =~ s/^until,//) {
            my $n = 0; while ($n++ < 100000) { last if tried(split /,/, $try) eq "1" }
            print "until $try ", ($n < 100000 ? 1 : "never"), "\n"; next;
        }
        print "$try ", tried(split /,/, $try), "\n";
    }
"#;

/// Makes both sides, and runs its arguments on the host's.
const WORLD: &str = r#"
    set -e
    [ -z "$(ip route show default)" ] || { echo "there is a route out" >&2; exit 99; }
    ip link set lo up
    unshare -n sleep 300 & other=$!
    trap 'kill $other' EXIT
    while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
    ip link add name near type veth peer name far
    ip link set far netns $other
    ip addr add 9.9.9.1/30 dev near; ip -6 addr add 2a00:9::1/64 dev near nodad
    ip link set near up; ip route add default via 9.9.9.2
    there() { nsenter -t $other -n "$@"; }
    there ip link set lo up
    there ip addr add 9.9.9.2/30 dev far; there ip -6 addr add 2a00:9::2/64 dev far nodad
    there ip link set far up
    for address in $ADDRESSES; do
        case $address in 9.9.9.2|2a00:9::2) continue;;
        *:*) there ip -6 addr add $address/128 dev lo nodad;;
        *) there ip addr add $address/32 dev lo;; esac
    done
    there ip -6 route add default via 2a00:9::1; there ip route add default via 9.9.9.1
    ip -6 route add default via 2a00:9::2
    # An address of the link can be used when the link has carrier.
    n=0; while ! ip -6 route get 2600::1 2> /dev/null | grep -q 'dev near'; do
        n=$((n + 1)); [ $n -lt 5000 ]; done
    mount --bind "$RESOLV" /etc/resolv.conf
    mkfifo "$READY"
    nsenter -t $other -n perl -e "$SERVER" $ADDRESSES > "$READY" & server=$!
    trap 'kill $server $other' EXIT
    read word < "$READY"
    [ "$word" = ready ]
    "$@"
"#;

/// Runs `allgone run` with these words on the host's side.
fn beside_the_internet(words: &[&str], input: Option<&str>) -> Output {
    let dir = Shared::new();
    let resolv = dir.file("resolv.conf", &format!("nameserver {RESOLVER}\n"));
    let addresses = [REACHABLE, PUBLIC, &[RESOLVER, "7.7.7.2"]]
        .concat()
        .join(" ");
    let launcher = allgone(Whose::Own, words);
    let world = match input {
        None => WORLD.to_owned(),
        Some(step) => WORLD.replace("    \"$@\"\n", step),
    };
    Command::new("unshare")
        .args([
            "-n",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            &world,
            "sh",
        ])
        .arg(launcher.command.get_program())
        .args(launcher.command.get_args())
        .env("ADDRESSES", addresses)
        .env("SERVER", SERVER)
        .env("RESOLV", resolv)
        .env("READY", dir.path().join("ready"))
        .current_dir("/")
        .output()
        .unwrap()
}

/// What each try came to.
fn tried(options: &[&str], tries: &[String]) -> Vec<String> {
    let tries: Vec<_> = tries.iter().map(String::as_str).collect();
    let words = [options, &["-t", "60s", "--", "perl", "-e", CLIENT], &tries].concat();
    let output = beside_the_internet(&words, None);
    printed(&output).lines().map(str::to_owned).collect()
}

fn each(how: &str, addresses: &[&str], port: u16) -> Vec<String> {
    let each = addresses
        .iter()
        .map(|address| format!("{how},{address},{port}"));
    each.collect()
}

/// Whether there is what the test takes; a machine of root's has it.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

const CLOSED: &[&str] = &["--net", "public"];

#[test]
fn no_address_of_a_registry_is_reached_and_the_internet_is() {
    if !has("root", is_root()) {
        return;
    }
    let rows = each("tcp", &[REACHABLE, UNREACHABLE].concat(), 80);
    for (line, row) in tried(CLOSED, &rows).iter().zip(&rows) {
        assert_eq!(*line, format!("{row} {}", nix::libc::EPERM));
    }
    // The filter of packets by itself: no call says where a datagram goes before it is sent.
    let rows = each("udp", &[REACHABLE, &[RESOLVER]].concat(), 7);
    for (line, row) in tried(CLOSED, &rows).iter().zip(&rows) {
        assert_eq!(*line, format!("{row} {}", nix::libc::EPERM));
    }
    let rows = each("udp", UNREACHABLE, 7);
    for (line, row) in tried(CLOSED, &rows).iter().zip(&rows) {
        let answer = line.rsplit(' ').next().unwrap();
        assert!(
            answer.parse::<i32>().is_ok_and(|errno| errno > 0),
            "{row}: {line}"
        );
    }
    let mapped = format!("tcp,::ffff:{},80", PUBLIC[0]);
    let good = [each("tcp", PUBLIC, 80), vec![mapped]].concat();
    let expected: Vec<_> = good.iter().map(|line| format!("{line} ok")).collect();
    assert_eq!(tried(CLOSED, &good), expected);
    // The same addresses without the filter: that they are there is no assumption.
    let rows = each("tcp", &[REACHABLE, PUBLIC].concat(), 80);
    let expected: Vec<_> = rows.iter().map(|line| format!("{line} ok")).collect();
    assert_eq!(tried(&["--bare"], &rows), expected);
}

#[test]
fn datagrams_go_both_ways_with_the_internet_alone() {
    if !has("root", is_root()) {
        return;
    }
    let tries = [
        each("udp", PUBLIC, 7),
        each("big", PUBLIC, 7),
        each("big", &["10.0.0.1", "fd00::1"], 7),
        each("any", &PUBLIC[..1], 9),
    ]
    .concat();
    let answers = |options| -> Vec<String> {
        let lines = tried(options, &tries);
        lines
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    };
    let no = nix::libc::EPERM.to_string();
    let no = no.as_str();
    assert_eq!(
        answers(CLOSED),
        ["got1", "got1", "got4000", "got4000", no, no, "public"]
    );
    // Without the filter the answer from the private address, which is first, is taken.
    assert_eq!(
        answers(&["--bare"]),
        [
            "got1", "got1", "got4000", "got4000", "got4000", "got4000", "private"
        ]
    );
}

#[test]
fn names_are_resolved_by_the_configured_resolver_alone_until_that_is_closed() {
    if !has("root", is_root()) {
        return;
    }
    let no = nix::libc::EPERM;
    let tries = [
        each("tcp", &[RESOLVER, "10.0.0.1"], 53),
        each("udp", &[RESOLVER, "10.0.0.1"], 53),
        each("tcp", &[RESOLVER], 80),
    ]
    .concat();
    let answers = |options| -> Vec<String> {
        let lines = tried(options, &tries);
        lines
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    };
    let no = no.to_string();
    let no = no.as_str();
    assert_eq!(answers(CLOSED), ["ok", no, "got1", no, no]);
    assert_eq!(
        answers(&["--net", "public", "--no-dns"]),
        [no, no, no, no, no]
    );
}

#[test]
fn more_can_be_allowed_and_refused() {
    if !has("root", is_root()) {
        return;
    }
    let no = nix::libc::EPERM.to_string();
    let tries = [
        each(
            "tcp",
            &["10.0.0.1", "192.168.0.1", "8.8.8.8", "fd00::1"],
            80,
        ),
        each("tcp", &["10.0.0.1"], 53),
        each("bind", &["0.0.0.0", "::"], 5555),
        each("bind", &["0.0.0.0", "::"], 0),
    ]
    .concat();
    let options = [
        "--net",
        "public",
        "--allow-net",
        "10.0.0.0/24:80",
        "--deny-net",
        "8.8.0.0/16",
        "--allow-net",
        "[fd00::]/8",
    ];
    let lines = tried(&options, &tries);
    let answers: Vec<_> = lines
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    let no = no.as_str();
    assert_eq!(answers, ["ok", no, no, "ok", no, no, no, "ok", "ok"]);
}

#[test]
fn an_address_that_comes_later_is_refused_then() {
    if !has("root", is_root()) {
        return;
    }
    let tries = ["tcp,7.7.7.2,80", "wait", "until,tcp,7.7.7.2,80"].map(str::to_owned);
    let tries: Vec<_> = tries.iter().map(String::as_str).collect();
    let words = [CLOSED, &["-t", "60s", "--", "perl", "-e", CLIENT], &tries].concat();
    // The machine gets an address of the network that the program has just reached.
    let step = "    mkfifo \"$READY.in\" \"$READY.out\"\n\
                    \"$@\" < \"$READY.in\" > \"$READY.out\" & job=$!\n\
                    exec 5> \"$READY.in\" 6< \"$READY.out\"\n\
                    read line <&6; echo \"$line\"; read line <&6\n\
                    ip addr add 7.7.7.1/24 dev near\n\
                    echo go >&5; read line <&6; echo \"$line\"; wait $job\n";
    let output = beside_the_internet(&words, Some(step));
    assert_eq!(
        printed(&output),
        "tcp,7.7.7.2,80 ok\nuntil tcp,7.7.7.2,80 1"
    );
}

#[test]
fn what_cannot_be_had_is_refused() {
    let refused = |whose, options: &[&str]| {
        let output = closed(whose, options, "true");
        assert_eq!(code(&output), 125, "{options:?}");
        errors(&output)
    };
    assert!(refused(Whose::Ordinary, CLOSED).contains("root"));
    for options in [
        &["--net", "none", "--allow-net", "10.0.0.0/8"][..],
        &["--no-dns"],
        &["--net", "host", "--deny-net", "10.0.0.0/8"],
        &["--net", "public", "--allow-net", "10.0.0.0/40"],
        &["--net", "public", "--deny-net", "somewhere"],
        &["--net", "public", "--preset", "judge"],
    ] {
        let said = refused(Whose::Own, options);
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
