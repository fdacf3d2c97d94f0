//! Two network namespaces of the test that have no route out: one is the host's, the other plays
//! the local network and the Internet.

use std::process::{Command, Output};

use super::{Shared, printed};
use crate::support::{Whose, allgone};

/// An address in each block of the registries that can be given to an interface.
pub(super) const REACHABLE: &[&str] = &[
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
pub(super) const UNREACHABLE: &[&str] = &[
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

pub(super) const PUBLIC: &[&str] = &["8.8.8.8", "2600::1"];
pub(super) const RESOLVER: &str = "10.9.9.9";

/// The other side: its addresses in the arguments; everything listens on TCP 80 and 53, answers on
/// UDP 7 and 53, and on UDP 9 and 10 answers from a private address before the right one, on 10 in
/// fragments. So does what answers to echo requests of ICMP.
const SERVER: &str = r#"
    use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6); use strict; my (%tcp, %udp, %icmp);
    sub at { my ($a, $p) = @_; return $a =~ /:/ ? pack_sockaddr_in6($p, inet_pton(AF_INET6, $a))
             : pack_sockaddr_in($p, inet_aton($a)) }
    for my $a (@ARGV) {
        my $f = $a =~ /:/ ? AF_INET6 : AF_INET;
        for my $p (80, 53) {
            my $s; socket($s, $f, SOCK_STREAM, 0) && bind($s, at($a, $p)) && listen($s, 64)
                or die "$a $p $!";
            $tcp{$a, $p} = $s;
        }
        for my $p (7, 9, 10, 53) {
            my $s; socket($s, $f, SOCK_DGRAM, 0) && bind($s, at($a, $p)) or die "$a $p $!";
            $udp{$a, $p} = $s;
        }
        my $s; socket($s, $f, SOCK_RAW, $f == AF_INET ? 1 : 58) && bind($s, at($a, 0))
            or die "$a icmp $!";
        $icmp{$a} = $s;
    }
    sub private { return $_[0] =~ /:/ ? "fd00::1" : "10.0.0.1" }
    sub echo {
        my ($a, $from, $request) = @_;
        my $v4 = $a !~ /:/; substr($request, 0, 4 * (ord($request) & 15)) = "" if $v4;
        return if ord($request) != ($v4 ? 8 : 128);
        for my $try ([private($a), "private "], [$a, "public  "]) {
            my $reply = pack("C C n", $v4 ? 0 : 129, 0, 0) . substr($request, 4, 4) . $try->[1];
            my $sum = 0; $sum += $_ for unpack("n*", $reply);
            $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
            substr($reply, 2, 2) = pack("n", ~$sum & 0xffff) if $v4;
            send($icmp{$try->[0]}, $reply, 0, $from);
        }
    }
    $| = 1; print "ready\n"; close STDOUT;
    while (1) {
        my $bits = ""; vec($bits, fileno($_), 1) = 1 for values %tcp, values %udp, values %icmp;
        select($bits, undef, undef, 60) or exit;
        for my $s (values %tcp) { accept(my $c, $s) if vec($bits, fileno($s), 1) }
        for my $k (keys %udp) {
            next unless vec($bits, fileno($udp{$k}), 1);
            my ($a, $p) = split /$;/, $k;
            my $from = recv($udp{$k}, my $text, 9000, 0);
            if ($p != 9 && $p != 10) { send($udp{$k}, "got" . length $text, 0, $from); next }
            my $rest = $p == 10 ? " " x 4000 : "";
            send($udp{private($a), $p}, "private$rest", 0, $from);
            send($udp{$k}, "public$rest", 0, $from);
        }
        for my $a (keys %icmp) {
            next unless vec($bits, fileno($icmp{$a}), 1);
            my $from = recv($icmp{$a}, my $text, 9000, 0); echo($a, $from, $text);
        }
    }
"#;

/// What the program tries: `tcp,ADDRESS,PORT`, `udp`, `big` (a datagram in fragments), `any`
/// (an answer from anywhere), `bind,ADDRESS,PORT`, `ping,ADDRESS,0`, `raw,ADDRESS,PROTOCOL`. Prints
/// each with `ok`, an answer or an error.
pub(super) const CLIENT: &str = r#"
    use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6); use strict; $| = 1;
    sub tried {
        my ($how, $a, $p) = @_; my $v6 = $a =~ /:/; my $f = $v6 ? AF_INET6 : AF_INET;
        my $at = $v6 ? pack_sockaddr_in6($how eq "raw" ? 0 : $p, inet_pton(AF_INET6, $a))
                 : pack_sockaddr_in($how eq "raw" ? 0 : $p, inet_aton($a));
        my $kind = $how eq "tcp" ? SOCK_STREAM : $how eq "raw" ? SOCK_RAW : SOCK_DGRAM;
        my $protocol = $how eq "raw" ? $p : $how eq "ping" ? ($v6 ? 58 : 1) : 0;
        socket(my $s, $f, $kind, $protocol) or return 0 + $!;
        if ($how eq "bind") { return bind($s, $at) ? "ok" : 0 + $! }
        # An address that is refused while its answer is awaited leaves a call that does not end.
        if ($how eq "tcp") {
            local $SIG{ALRM} = sub {}; alarm 10;
            my $answer = connect($s, $at) ? "ok" : 0 + $!; alarm 0; return $answer;
        }
        my $text = $how eq "big" ? "x" x 4000
                   : $how eq "ping" ? pack("C C n n n", $v6 ? 128 : 8, 0, 0, 0, 1) : "x";
        defined send($s, $text, 0, $at) or return 0 + $!;
        # Of ICMPv6 the kernel does not say that it was refused: a second one is answered first.
        send($s, $text, 0, pack_sockaddr_in6(0, inet_pton(AF_INET6, "2600::1")))
            if $how eq "ping" && $v6;
        my $bits = ""; vec($bits, fileno($s), 1) = 1;
        select($bits, undef, undef, 20) or return "silence";
        defined recv($s, $text, 9000, 0) or return 0 + $!;
        $text = substr($text, 8) if $how eq "ping"; $text =~ s/ +$//; return $text;
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
    # Any group may ask for an echo; the server alone answers.
    echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range
    there sh -c 'for file in ipv4/icmp_echo_ignore_all ipv6/icmp/echo_ignore_all; do
                 echo 1 > /proc/sys/net/$file; done'
    mount --bind "$RESOLV" /etc/resolv.conf
    mkfifo "$READY"
    nsenter -t $other -n perl -e "$SERVER" $ADDRESSES > "$READY" & server=$!
    trap 'kill $server $other' EXIT
    read word < "$READY"
    [ "$word" = ready ]
    "$@"
"#;

/// Runs `allgone run` with these words on the host's side.
pub(super) fn beside_the_internet(words: &[&str], input: Option<&str>) -> Output {
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
pub(super) fn tried(options: &[&str], tries: &[String]) -> Vec<String> {
    let tries: Vec<_> = tries.iter().map(String::as_str).collect();
    let words = [options, &["-t", "60s", "--", "perl", "-e", CLIENT], &tries].concat();
    let output = beside_the_internet(&words, None);
    printed(&output).lines().map(str::to_owned).collect()
}

pub(super) fn each(how: &str, addresses: &[&str], port: u16) -> Vec<String> {
    let each = addresses
        .iter()
        .map(|address| format!("{how},{address},{port}"));
    each.collect()
}
