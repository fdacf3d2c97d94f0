//! Every row of IANA's special-purpose registries, and every form in which an IPv4 address can be
//! embedded in one of IPv6, as a program in a closed run reaches them: not at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;

use super::internet::{each, tried};
use super::public::{CLOSED, is_root};
use crate::support::has;

const IPV4: &str = include_str!("../../../src/closed/registries/ipv4.csv");
const IPV6: &str = include_str!("../../../src/closed/registries/ipv6.csv");

/// First and last address of each row.
fn ends(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let ends = rows.flat_map(|row| {
        let (block, _) = row.split_once(',').unwrap();
        let (first, length) = block.split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        let first: IpAddr = first.parse().unwrap();
        let last: IpAddr = match first {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(length).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) | rest).into()
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(length).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) | rest).into()
            }
        };
        [first, last]
    });
    let mut ends: Vec<_> = ends.map(|address| address.to_string()).collect();
    ends.dedup();
    ends
}

/// An IPv4 address in each form of IPv6: mapped, compatible, translated, NAT64 (both prefixes),
/// 6to4, and Teredo as server and as client.
fn embedded(address: Ipv4Addr) -> [Ipv6Addr; 8] {
    let bits = u128::from(u32::from(address));
    let at = |prefix: &str, bits: u128| {
        let prefix: Ipv6Addr = prefix.parse().unwrap();
        Ipv6Addr::from(u128::from(prefix) | bits)
    };
    [
        at("::ffff:0:0", bits),
        at("::", bits),
        at("::ffff:0:0:0", bits),
        at("64:ff9b::", bits),
        at("64:ff9b:1::", bits),
        at("2002::1", bits << 80),
        at("2001::1", bits << 64),
        at("2001:0:4136:e378:8000:63bf::", bits ^ 0xffff_ffff),
    ]
}

/// Tries all of them; each has to fail, by TCP because it is refused.
fn all_refused(addresses: &[String]) {
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let rows = each("tcp", &addresses, 80);
    let lines = tried(CLOSED, &rows);
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(&rows) {
        assert_eq!(*line, format!("{row} {}", libc::EPERM));
    }
    // Some of these the kernel itself takes for no destination.
    let rows = each("udp", &addresses, 7);
    let lines = tried(CLOSED, &rows);
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(&rows) {
        let errno = line.rsplit(' ').next().unwrap().parse::<i32>();
        assert!(errno.is_ok_and(|errno| errno > 0), "{row}: {line}");
    }
}

#[test]
fn both_ends_of_every_row_are_refused() {
    if !has("root", is_root()) {
        return;
    }
    let addresses = [ends(IPV4), ends(IPV6)].concat();
    assert!(addresses.len() > 80, "{addresses:?}");
    all_refused(&addresses);
}

#[test]
fn every_embedded_form_of_every_ipv4_row_is_refused() {
    if !has("root", is_root()) {
        return;
    }
    let v4 = ends(IPV4).into_iter().map(|text| text.parse().unwrap());
    let forms = v4.flat_map(embedded);
    let forms: Vec<_> = forms.map(|address| address.to_string()).collect();
    all_refused(&forms);
}
