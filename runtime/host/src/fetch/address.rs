//! Which addresses the host may speak to: public ones, and those that the operator names.
//! It resolves no name and opens no connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest name of a host in bytes.
const NAME_BYTES_MAX: usize = 253;

/// What an address that is not public is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// This machine.
    Loopback,
    /// A private network, or one that providers share among customers.
    Private,
    /// This link.
    LinkLocal,
    /// Where clouds tell a machine its credentials.
    Metadata,
    /// Many machines at once.
    Multicast,
    /// An address inside another one that no network of ours routes.
    Tunneled,
    /// No address of a machine: unspecified, documentation, benchmarks, future use.
    Reserved,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "an address of cloud metadata",
            Self::Multicast => "a multicast address",
            Self::Tunneled => "a tunneled address",
            Self::Reserved => "a reserved address",
        })
    }
}

/// The range of an address; `None` if it is public.
pub(crate) fn range_of(address: IpAddr) -> Option<Range> {
    match address {
        IpAddr::V4(address) => range_of_v4(address),
        IpAddr::V6(address) => range_of_v6(address),
    }
}

/// Metadata services outside of link-local ranges: of Azure, Alibaba and Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// The metadata service of AWS over IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn range_of_v4(address: Ipv4Addr) -> Option<Range> {
    if METADATA_V4.contains(&address) || address == Ipv4Addr::new(169, 254, 169, 254) {
        return Some(Range::Metadata);
    }
    match address.octets() {
        [0, ..] | [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Some(Range::Reserved)
        }
        [192, 88, 99, _] => Some(Range::Tunneled),
        [127, ..] => Some(Range::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Some(Range::Private),
        [169, 254, ..] => Some(Range::LinkLocal),
        [224..=239, ..] => Some(Range::Multicast),
        [240..=255, ..] => Some(Range::Reserved),
        _ => None,
    }
}

fn range_of_v6(address: Ipv6Addr) -> Option<Range> {
    if let Some(inner) = inner_v4(address) {
        return range_of_v4(inner);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Range::Loopback),
        _ if address == METADATA_V6 => Some(Range::Metadata),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(Range::Private),
        [0xfe80..=0xfebf, ..] => Some(Range::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Range::Multicast),
        // 6to4, Teredo, and the prefix for translation inside a site.
        [0x2002, ..] | [0x2001, 0, ..] | [0x64, 0xff9b, ..] => Some(Range::Tunneled),
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Range::Reserved),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Range::Reserved),
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, or translated under the well-known prefix `64:ff9b::/96`.
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d] = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            [a, b, c, d]
        }
        _ => return None,
    };
    Some(Ipv4Addr::new(a, b, c, d))
}

/// A host and port that an operator names: `registry.corp.example:5000`, `*.corp.example:443`, `10.1.2.3:*`, `[fd00::1]:443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: Host,
    /// `None` stands for every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
    /// Every name that ends so; it begins with a dot.
    Below(String),
}

/// Why a text names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place is a host and a port such as `registry.corp.example:5000`, `*.corp.example:443` or `10.1.2.3:*`")]
pub struct InvalidPlace;

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidPlace)?;
        let port = match port {
            "*" => None,
            port => Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(InvalidPlace)?),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (bracketed, host.parse::<Ipv4Addr>(), host.strip_prefix('*')) {
            (Some(inner), _, _) => Host::Address(inner.parse::<Ipv6Addr>().map_err(|_| InvalidPlace)?.to_canonical()),
            (None, Ok(address), _) => Host::Address(address.into()),
            (None, Err(_), Some(below)) => {
                name(below.strip_prefix('.').ok_or(InvalidPlace)?).map(|name| Host::Below(format!(".{name}")))?
            }
            (None, Err(_), None) => Host::Name(name(host)?),
        };
        Ok(Self { host, port })
    }
}

/// A name that is no address in another notation: its last part begins with a letter.
fn name(text: &str) -> Result<String, InvalidPlace> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_whole =
        text.len() <= NAME_BYTES_MAX && text.split('.').all(|part| !part.is_empty() && part.bytes().all(is_letter));
    let is_name =
        text.rsplit('.').next().is_some_and(|last| last.starts_with(|first: char| first.is_ascii_alphabetic()));
    if is_whole && is_name { Ok(text.to_ascii_lowercase()) } else { Err(InvalidPlace) }
}

impl Place {
    /// Whether it names a host, as an URL writes it, at a port.
    pub(crate) fn has(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
        let is_host = match &self.host {
            Host::Address(address) => host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == *address),
            Host::Name(name) => host.eq_ignore_ascii_case(name),
            Host::Below(end) => host.to_ascii_lowercase().ends_with(end.as_str()),
        };
        is_host && self.port.is_none_or(|named| named == port)
    }

    /// Whether it names this very address at a port.
    fn has_address(&self, address: IpAddr, port: u16) -> bool {
        self.host == Host::Address(address.to_canonical()) && self.port.is_none_or(|named| named == port)
    }
}

/// Why `host`, which is at `address`, may not be spoken to; `None` if it may. An exception for a name covers private and
/// loopback addresses; link-local ones and cloud metadata only an exception for the address itself. The rest is covered by none.
pub(crate) fn refusal(exceptions: &[Place], host: &str, address: IpAddr, port: u16) -> Option<Range> {
    let range = range_of(address)?;
    let is_excepted = exceptions.iter().any(|place| match range {
        Range::Loopback | Range::Private => place.has(host, port) || place.has_address(address, port),
        Range::LinkLocal | Range::Metadata => place.has_address(address, port),
        Range::Multicast | Range::Tunneled | Range::Reserved => false,
    });
    (!is_excepted).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_have_no_range() {
        let check = |addresses: &[&str], wanted: Option<Range>| {
            for address in addresses {
                assert_eq!(range_of(address.parse().unwrap()), wanted, "{address}");
            }
        };

        check(
            &[
                "1.1.1.1",
                "8.8.8.8",
                "172.15.0.1",
                "172.32.0.1",
                "192.0.1.1",
                "100.63.0.1",
                "100.128.0.1",
                "223.255.255.1",
            ],
            None,
        );
        check(&["2606:4700:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"], None);
        check(&["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"], Some(Range::Loopback));
        check(
            &["10.0.0.1", "172.16.0.1", "172.31.255.1", "192.168.1.1", "100.64.0.1", "fd12::1", "fc00::1"],
            Some(Range::Private),
        );
        check(&["::ffff:10.0.0.1", "64:ff9b::c0a8:101", "fec0::1"], Some(Range::Private));
        check(&["169.254.0.1", "fe80::1", "febf::1", "::ffff:169.254.1.1"], Some(Range::LinkLocal));
        check(
            &[
                "169.254.169.254",
                "::ffff:a9fe:a9fe",
                "64:ff9b::a9fe:a9fe",
                "fd00:ec2::254",
                "168.63.129.16",
                "100.100.100.200",
                "192.0.0.192",
            ],
            Some(Range::Metadata),
        );
        check(&["224.0.0.1", "239.255.255.255", "ff02::1"], Some(Range::Multicast));
        check(
            &["2002:7f00:1::1", "2002:0808:0808::1", "2001::1", "192.88.99.1", "64:ff9b:1::1"],
            Some(Range::Tunneled),
        );
        check(
            &[
                "0.0.0.0",
                "0.1.2.3",
                "192.0.2.1",
                "198.18.0.1",
                "198.51.100.1",
                "203.0.113.9",
                "240.0.0.1",
                "255.255.255.255",
            ],
            Some(Range::Reserved),
        );
        check(
            &["::", "::7f00:1", "2001:db8::1", "2001:10::1", "3fff::1", "100::1", "4000::1", "::ffff:0.0.0.0"],
            Some(Range::Reserved),
        );
    }

    #[test]
    fn a_place_is_a_host_and_a_port() {
        let check = |place: &str, host: &str, port: u16, wanted: bool| {
            assert_eq!(place.parse::<Place>().unwrap().has(host, port), wanted, "{place} {host}:{port}");
        };

        check("registry.corp.example:5000", "registry.corp.example", 5000, true);
        check("Registry.corp.example:5000", "REGISTRY.CORP.EXAMPLE.", 5000, true);
        check("registry.corp.example:5000", "registry.corp.example", 443, false);
        check("registry.corp.example:*", "registry.corp.example", 443, true);
        check("registry.corp.example:*", "evil-registry.corp.example", 443, false);
        check("*.corp.example:443", "a.b.corp.example", 443, true);
        check("*.corp.example:443", "corp.example", 443, false);
        check("*.corp.example:443", "evilcorp.example", 443, false);
        check("10.1.2.3:443", "10.1.2.3", 443, true);
        check("[::1]:443", "[::1]", 443, true);
        check("127.0.0.1:443", "::ffff:127.0.0.1", 443, true);
        for wrong in [
            "",
            "host",
            "host:",
            "host:0",
            "host:70000",
            "*:443",
            "*.:1",
            "[::1:1",
            "2130706433:1",
            "0x7f.1:1",
            "a..b:1",
            "host/x:1",
            "*a.b:1",
        ] {
            assert_eq!(wrong.parse::<Place>(), Err(InvalidPlace), "{wrong}");
        }
    }

    #[test]
    fn an_exception_covers_what_it_names_and_never_what_no_machine_has() {
        let check = |place: &str, host: &str, address: &str, port: u16, wanted: Option<Range>| {
            let found = refusal(&[place.parse().unwrap()], host, address.parse().unwrap(), port);
            assert_eq!(found, wanted, "{place} {host} {address}:{port}");
        };

        check("a.example:443", "a.example", "10.0.0.1", 443, None);
        check("a.example:443", "a.example", "::1", 443, None);
        check("a.example:443", "b.example", "10.0.0.1", 443, Some(Range::Private));
        check("a.example:443", "a.example", "10.0.0.1", 80, Some(Range::Private));
        check("10.0.0.1:443", "a.example", "10.0.0.1", 443, None);
        check("a.example:*", "a.example", "169.254.169.254", 443, Some(Range::Metadata));
        check("a.example:*", "a.example", "fe80::1", 443, Some(Range::LinkLocal));
        check("169.254.169.254:80", "169.254.169.254", "169.254.169.254", 80, None);
        check("0.0.0.0:*", "0.0.0.0", "0.0.0.0", 80, Some(Range::Reserved));
        check("a.example:*", "b.example", "8.8.8.8", 80, None);
    }
}
