//! Socket addresses between the kernel's shape and Rust's.

use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IPv4 address in its own shape, where an IPv6 socket shows it mapped (`::ffff:192.0.2.1`).
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// The address as a socket of this family wants it: an IPv6 one reaches an IPv4 peer by its mapped address.
pub(super) fn for_family(address: SocketAddr, is_v6: bool) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if is_v6 => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        _ => address,
    }
}

/// Read what the kernel wrote; `None` for a family that is not IP.
pub(super) fn read(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that these bytes are a sockaddr_in; sockaddr_storage is larger and aligned for it.
            let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that these bytes are a sockaddr_in6; sockaddr_storage is larger and aligned for it.
            let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Write for the kernel; the length is that of the family's own structure.
pub(super) fn write(address: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    // SAFETY: all-zero bytes are a valid sockaddr_storage (it is integers and padding).
    *storage = unsafe { zeroed() };
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: sockaddr_storage is larger than sockaddr_in, aligned for it, and exclusively borrowed.
            let to = unsafe { &mut *std::ptr::from_mut(storage).cast::<libc::sockaddr_in>() };
            to.sin_family = AF_INET;
            to.sin_port = v4.port().to_be();
            to.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            SIZE_V4
        }
        SocketAddr::V6(v6) => {
            // SAFETY: sockaddr_storage is larger than sockaddr_in6, aligned for it, and exclusively borrowed.
            let to = unsafe { &mut *std::ptr::from_mut(storage).cast::<libc::sockaddr_in6>() };
            to.sin6_family = AF_INET6;
            to.sin6_port = v6.port().to_be();
            to.sin6_addr.s6_addr = v6.ip().octets();
            to.sin6_scope_id = v6.scope_id();
            SIZE_V6
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "2 and 10")]
const AF_INET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
#[allow(clippy::cast_possible_truncation, reason = "2 and 10")]
const AF_INET6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;
#[allow(clippy::cast_possible_truncation, reason = "16 and 28 bytes")]
const SIZE_V4: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;
#[allow(clippy::cast_possible_truncation, reason = "16 and 28 bytes")]
const SIZE_V6: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_through_the_kernel_shape() {
        for text in ["127.0.0.1:5060", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:5060", "[2001:db8::7]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            // SAFETY: all-zero bytes are a valid sockaddr_storage.
            let mut storage = unsafe { zeroed() };
            write(address, &mut storage);
            assert_eq!(read(&storage), Some(address));
        }
    }

    #[test]
    fn another_family_is_no_address() {
        // SAFETY: all-zero bytes are a valid sockaddr_storage; family 0 is AF_UNSPEC.
        assert_eq!(read(&unsafe { zeroed() }), None);
    }
}
