//! Prefixes of addresses as text: `10.0.0.0/8`, `[fd00::]/8`, with ports behind a colon.

use std::net::IpAddr;

use allgone::sys::bpf::Family;

/// A prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cidr {
    /// Its first address.
    pub(crate) address: IpAddr,
    /// How many bits of it count.
    pub(crate) length: u8,
}

impl Cidr {
    /// One address.
    pub(crate) fn host(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Self { address, length }
    }

    /// `ADDRESS` or `ADDRESS/LENGTH`; an IPv6 address may be in brackets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let all = Self::host(bare.unwrap_or(address).parse().ok()?);
        let length = length.map_or(Some(all.length), |length| length.parse().ok())?;
        (length <= all.length).then_some(Self { length, ..all })
    }

    /// The family.
    pub(crate) fn family(self) -> Family {
        if self.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// Whether an address is in it.
    pub(crate) fn holds(self, address: IpAddr) -> bool {
        let bits = |address| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let all = if self.address.is_ipv4() { 32 } else { 128 };
        let rest = all - u32::from(self.length).min(all);
        let prefix = |address| bits(address).checked_shr(rest).unwrap_or(0);
        self.address.is_ipv4() == address.is_ipv4() && prefix(self.address) == prefix(address)
    }

    /// The address in network order.
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => address.octets().into(),
            IpAddr::V6(address) => address.octets().into(),
        }
    }
}

/// `CIDR` or `CIDR:PORT`; of IPv6 the address is in brackets if a port follows. `None` as the port:
/// all.
pub(crate) fn with_port(text: &str) -> Option<(Cidr, Option<u16>)> {
    let split = text.rsplit_once(':').filter(|(cidr, _)| {
        // A colon within an IPv6 address is none before a port.
        !cidr.contains(':') || cidr.contains(']')
    });
    match split {
        Some((cidr, port)) => {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            Some((Cidr::parse(cidr)?, Some(port)))
        }
        None => Some((Cidr::parse(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_ports_are_read() {
        let of = |text: &str| {
            with_port(text).map(|(cidr, port)| (cidr.address.to_string(), cidr.length, port))
        };
        let some = |address: &str, length, port| Some((address.to_owned(), length, port));
        assert_eq!(of("10.0.0.0/8"), some("10.0.0.0", 8, None));
        assert_eq!(of("10.1.2.3:80"), some("10.1.2.3", 32, Some(80)));
        assert_eq!(of("10.0.0.0/8:443"), some("10.0.0.0", 8, Some(443)));
        assert_eq!(of("fd00::/8"), some("fd00::", 8, None));
        assert_eq!(of("[fd00::1]:22"), some("fd00::1", 128, Some(22)));
        assert_eq!(of("[fd00::]/8:22"), some("fd00::", 8, Some(22)));
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0:0",
            "10.0.0.0:x",
            "host:80",
            "::/129",
            "1.2.3",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
