//! Addresses that are not the Internet: every row of IANA's special-purpose address registries, of
//! multicast, and of what was reserved before those.
//!
//! From the RFCs that the registries name, as of 2026-11-30: RFC 6890 with its updates, and 1112,
//! 3056, 3879, 4291, 4380, 5180, 5737, 5771, 6052, 6598, 6666, 7343, 7450, 7526, 7534, 7535, 7723,
//! 8155, 8215, 8807, 9374, 9602, 9637, 9780. Rows that are said to be globally reachable are
//! refused too: they are relays and anycast services of the local network as often as not.
//! [Registry for IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry),
//! [for IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry).

/// Prefix, and what it is.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by carriers"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, metadata services"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "AS112"),
    ("192.52.193.0/24", "AMT"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "AS112"),
    ("198.18.0.0/15", "benchmarks"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved, broadcast"),
    ("::/96", "unspecified, loopback, IPv4-compatible"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("::ffff:0:0:0/96", "IPv4-translated"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64, local"),
    ("100::/64", "discard"),
    ("100:0:0:1::/64", "dummy"),
    (
        "2001::/23",
        "protocol assignments, Teredo, benchmarks, ORCHID",
    ),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("2620:4f:8000::/48", "AS112"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "unique local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
];
