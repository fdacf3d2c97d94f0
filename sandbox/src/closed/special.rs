//! Addresses that are not the Internet: every row of IANA's special-purpose address registries, and
//! what has a purpose of its own by other documents.
//!
//! Rows that are said to be globally reachable are refused too: they are relays and anycast
//! services of the local network as often as not. The rows are in `registries/`, with their date.

use super::cidr::Cidr;

/// The registry for IPv4.
const IPV4: &str = include_str!("registries/ipv4.csv");
/// The registry for IPv6.
const IPV6: &str = include_str!("registries/ipv6.csv");

/// What is in neither: multicast, and all of IPv6 that is not global unicast, so also IPv4 as
/// IPv4-compatible and IPv4-translated addresses, site-local ones, and what is not assigned yet.
/// RFC 5771, RFC 4291 2.4.
const FURTHER: &[&str] = &["224.0.0.0/4", "::/3", "4000::/2", "8000::/1"];

/// All prefixes that are refused, in no order.
pub(crate) fn refused() -> impl Iterator<Item = Cidr> {
    let rows = IPV4.lines().chain(IPV6.lines()).filter_map(block);
    rows.chain(FURTHER.iter().copied()).filter_map(Cidr::parse)
}

/// The block of a row; `None`: a comment.
fn block(line: &str) -> Option<&str> {
    let (block, _) = line.split_once(',')?;
    (!line.starts_with('#')).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::process::{Command, Stdio};

    #[test]
    fn every_row_is_a_prefix_of_its_first_address() {
        for cidr in refused() {
            let bytes = cidr.bytes();
            let bits = bytes
                .iter()
                .fold(0u128, |all, byte| (all << 8) | u128::from(*byte));
            let all = if cidr.address.is_ipv4() { 32 } else { 128 };
            let rest = all - u32::from(cidr.length);
            assert_eq!(bits & ((1u128 << rest) - 1), 0, "{cidr:?}");
        }
    }

    #[test]
    fn no_row_is_left_out() {
        let rows = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!((rows(IPV4), rows(IPV6)), (26, 25));
        assert_eq!(refused().count(), 26 + 25 + FURTHER.len());
    }

    /// Rows that are newer than the Python of some distributions.
    const NEWER: &[&str] = &["3fff::/20", "192.0.0.0/24"];

    fn bits(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u32::from(address).into(),
            IpAddr::V6(address) => address.into(),
        }
    }

    /// What Python's `ipaddress` takes for special of these addresses.
    fn special_in_python(addresses: &[IpAddr]) -> Vec<bool> {
        const ASKED: &str = "import ipaddress, sys\n\
                             for line in sys.stdin:\n \
                             a = ipaddress.ip_address(line.strip())\n \
                             print(int(not a.is_global or a.is_private or a.is_multicast \
                             or a.is_reserved or a.is_loopback or a.is_link_local \
                             or a.is_unspecified or getattr(a, 'is_site_local', False)))";
        let input: String = addresses
            .iter()
            .map(|address| format!("{address}\n"))
            .collect();
        let mut python = Command::new("python3")
            .args(["-c", ASKED])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for this test");
        let mut stdin = python.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = python.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line == "1").collect()
    }

    #[test]
    fn python_agrees() {
        let known: Vec<_> = refused().collect();
        let mut addresses = Vec::new();
        // The first of each 65536th part, and both ends of each row with what is beside them.
        for high in 0..=u16::MAX {
            addresses.push(IpAddr::from(Ipv4Addr::from(u32::from(high) << 16)));
            addresses.push(IpAddr::from(Ipv6Addr::from(u128::from(high) << 112)));
        }
        for cidr in &known {
            let first = bits(cidr.address);
            let all = if cidr.address.is_ipv4() { 32 } else { 128 };
            let rest = u128::MAX
                .checked_shr(128 - all + u32::from(cidr.length))
                .unwrap_or(0);
            for bits in [
                first.wrapping_sub(1),
                first,
                first | rest,
                (first | rest).wrapping_add(1),
            ] {
                addresses.push(match u32::try_from(bits) {
                    Ok(bits) if all == 32 => Ipv4Addr::from(bits).into(),
                    Err(_) if all == 32 => continue,
                    _ => Ipv6Addr::from(bits).into(),
                });
            }
        }
        let special = special_in_python(&addresses);
        assert_eq!(special.len(), addresses.len());
        // What is reachable by IANA's word is refused here and no concern of Python's.
        let further = IPV4.lines().chain(IPV6.lines());
        let further = further.filter(|row| row.ends_with(",True") || row.ends_with(",N/A"));
        let further = further.filter_map(block).chain(NEWER.iter().copied());
        let further: Vec<_> = further.filter_map(Cidr::parse).collect();
        let mut counted = [0, 0];
        for (address, special) in addresses.into_iter().zip(special) {
            let refused = known.iter().any(|cidr| cidr.holds(address));
            let explained = further.iter().any(|cidr| cidr.holds(address));
            assert!(refused || !special, "{address} is special and not refused");
            assert!(
                special || explained || !refused,
                "{address} is refused and not special"
            );
            counted[usize::from(refused)] += 1;
        }
        assert!(counted.iter().all(|count| *count > 1_000), "{counted:?}");
    }
}
