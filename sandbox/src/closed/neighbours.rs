//! Addresses of this machine and of what is on its links, from /proc: they are the local network
//! also where they look like the Internet's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cidr::Cidr;

/// All of them, now. Errors: a file of /proc cannot be read; without IPv6 it has none of that.
pub(crate) fn now() -> std::io::Result<Vec<Cidr>> {
    let read = |name: &str| match std::fs::read_to_string(format!("/proc/self/net/{name}")) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    };
    let mut all = own_v4(&std::fs::read_to_string("/proc/self/net/fib_trie")?);
    all.extend(routes_v4(&std::fs::read_to_string("/proc/self/net/route")?));
    all.extend(own_v6(&read("if_inet6")?));
    all.extend(routes_v6(&read("ipv6_route")?));
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// `|-- ADDRESS`, and below it `/32 host LOCAL`.
fn own_v4(text: &str) -> Vec<Cidr> {
    let mut address = None;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("|-- ") {
            address = text.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(address.map(|address| Cidr::host(address.into())));
        }
    }
    found
}

/// Destinations without a gateway, and gateways. Numbers are in the machine's order.
fn routes_v4(text: &str) -> Vec<Cidr> {
    let mut found = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
        let (Some(to), Some(gateway), Some(mask)) = (number(1), number(2), number(7)) else {
            continue;
        };
        let address = |raw: u32| IpAddr::from(Ipv4Addr::from(raw.to_ne_bytes()));
        if gateway != 0 {
            found.push(Cidr::host(address(gateway)));
        } else if mask != 0 {
            let length = u8::try_from(mask.count_ones()).unwrap_or(32);
            let address = address(to);
            found.push(Cidr { address, length });
        }
    }
    found
}

/// `ADDRESS INDEX LENGTH SCOPE FLAGS NAME`.
fn own_v6(text: &str) -> Vec<Cidr> {
    let addresses = text
        .lines()
        .filter_map(|line| v6(line.split_whitespace().next()?));
    addresses.map(Cidr::host).collect()
}

/// `TO LENGTH FROM LENGTH GATEWAY METRIC …`: destinations without a gateway, and gateways.
fn routes_v6(text: &str) -> Vec<Cidr> {
    let each = text.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let length = u8::from_str_radix(fields.get(1)?, 16).ok()?;
        let (address, gateway) = (v6(fields.first()?)?, v6(fields.get(4)?)?);
        if !gateway.is_unspecified() {
            return Some(Cidr::host(gateway));
        }
        (length > 0).then_some(Cidr { address, length })
    });
    each.collect()
}

fn v6(text: &str) -> Option<IpAddr> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then(|| Ipv6Addr::from(number).into())
}

/// Addresses of the resolvers in a resolv.conf(5).
pub(crate) fn resolvers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        // An interface may follow a link-local address.
        words.next()?.split('%').next()?.parse().ok()
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cidrs: Vec<Cidr>) -> Vec<String> {
        let text = |cidr: Cidr| format!("{}/{}", cidr.address, cidr.length);
        cidrs.into_iter().map(text).collect()
    }

    #[test]
    fn what_proc_says_is_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.0\n        /24 link UNICAST\n \
                    |-- 192.0.2.2\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link \
                    BROADCAST\n";
        assert_eq!(texts(own_v4(trie)), ["192.0.2.2/32"]);
        let routes = "Iface\tDestination\tGateway\n\
                      eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(texts(routes_v4(routes)), ["192.0.2.1/32", "192.0.2.0/24"]);
        let own = "fd000000000000000000000000000002 04 40 00 82     eth0\n";
        assert_eq!(texts(own_v6(own)), ["fd00::2/128"]);
        let none = "00000000000000000000000000000000";
        let routes = format!(
            "2a000000000000000000000000000000 40 {none} 00 {none} 00000100 1 0 1 eth0\n\
             {none} 00 {none} 00 fd000000000000000000000000000001 00000400 3 0 3 eth0\n\
             {none} 00 {none} 00 {none} ffffffff 1 0 200200 lo\n"
        );
        assert_eq!(texts(routes_v6(&routes)), ["2a00::/64", "fd00::1/128"]);
    }

    #[test]
    fn resolvers_are_read() {
        let text = "# x\nnameserver 127.0.0.53\nsearch a\n nameserver fe80::1%eth0\nnameserver x\n";
        let found: Vec<_> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53", "fe80::1"]);
    }
}
