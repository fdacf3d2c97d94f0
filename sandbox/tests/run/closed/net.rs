//! The network: a loopback of its own, or the host's without its abstract sockets.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::{Shared, closed, printed};
use crate::support::{code, users};

/// Tries to connect to a port of this machine by TCP.
fn connect(port: u16) -> String {
    format!(
        "exec perl -MSocket -e 'socket(my $s, AF_INET, SOCK_STREAM, 0) or exit 9; \
         exit !connect($s, sockaddr_in({port}, inet_aton(\"127.0.0.1\")))'"
    )
}

/// Tries to connect to an abstract socket.
fn connect_abstract(name: &str) -> String {
    format!(
        "exec perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or exit 9; \
         exit !connect($s, pack(\"S a*\", 1, \"\\0{name}\"))'"
    )
}

#[test]
fn the_loopback_is_its_own_and_works() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = "exec perl -MSocket -e 'socket(my $l, AF_INET, SOCK_STREAM, 0) or exit 2; \
               bind($l, sockaddr_in(0, INADDR_LOOPBACK)) && listen($l, 1) or exit 3; \
               socket(my $s, AF_INET, SOCK_STREAM, 0); connect($s, getsockname($l)) or exit 4'";
    for whose in users() {
        assert_eq!(code(&closed(*whose, &[], own)), 0, "{whose:?}");
        assert_eq!(code(&closed(*whose, &[], &connect(port))), 1, "{whose:?}");
        // The same test with the host's network, so that it is known to be able to fail.
        let host = closed(*whose, &["--net", "host"], &connect(port));
        assert_eq!(code(&host), 0, "{whose:?}");
    }
}

#[test]
fn there_is_no_interface_but_the_loopback() {
    for whose in users() {
        let said = printed(&closed(
            *whose,
            &[],
            "tail -n +3 /proc/net/dev; cat /proc/net/route",
        ));
        let interfaces = said.lines().filter(|line| line.contains(':'));
        let names: Vec<_> = interfaces
            .map(|line| line.split(':').next().unwrap().trim())
            .collect();
        assert_eq!(names, ["lo"], "{whose:?}: {said}");
        // A datagram to anywhere else has no route.
        let send = "exec perl -MSocket -e 'socket(my $s, AF_INET, SOCK_DGRAM, 0); \
                    exit !send($s, \"x\", 0, sockaddr_in(53, inet_aton(\"192.0.2.1\")))'";
        assert_eq!(code(&closed(*whose, &[], send)), 1, "{whose:?}");
    }
}

#[test]
fn a_port_of_the_host_cannot_be_taken() {
    // What the program binds is not the host's: the port is free there, and taken by another here.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let bind = format!(
        "exec perl -MSocket -e 'socket(my $s, AF_INET, SOCK_DGRAM, 0); \
         exit !bind($s, sockaddr_in({port}, INADDR_LOOPBACK))'"
    );
    for whose in users() {
        assert_eq!(code(&closed(*whose, &[], &bind)), 0, "{whose:?}");
        assert_eq!(
            code(&closed(*whose, &["--net", "host"], &bind)),
            1,
            "{whose:?}"
        );
    }
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    let name = format!("allgone-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let script = connect_abstract(&name);
    let plain = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert!(plain.unwrap().success(), "the test can fail");
    for whose in users() {
        for network in ["none", "host"] {
            let output = closed(*whose, &["--net", network], &script);
            // 125: this kernel has no Landlock scopes, and so no run with the host's network.
            let code = code(&output);
            let refused = code == 125 && network == "host";
            assert!(code == 1 || refused, "{whose:?} {network}: {code}");
        }
    }
}

#[test]
fn sockets_with_a_path_are_out_of_sight_unless_they_are_shown() {
    let dir = Shared::new();
    let path = dir.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!(
        "exec perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or exit 9; \
         exit !connect($s, sockaddr_un(\"{}\"))'",
        path.display()
    );
    for whose in users() {
        assert_eq!(code(&closed(*whose, &[], &script)), 1, "{whose:?}");
        // A directory that is shown shows its sockets, and read-only does not stop them: stated.
        assert_eq!(
            code(&closed(*whose, &["--ro", &dir.text()], &script)),
            0,
            "{whose:?}"
        );
    }
}
