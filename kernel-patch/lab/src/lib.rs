//! The kernel lab: take any kernel, stock or self-built, boot it in a virtual machine that is
//! thrown away, and run the project's programs inside.
//!
//! What it does: fetches sources and stock images as Debian packages through the machine's own
//! mirror and keyring ([`deb`]), builds small kernels from readable fragments ([`build`]), packs
//! static programs and an init into an initramfs ([`image`]), boots it under QEMU ([`vm`]) and
//! accepts no result without exactly one verdict line on a channel of its own ([`protocol`]).
//!
//! What it does not do: it does not touch the machine's kernel, its apt configuration or its
//! cgroups, needs no root (but for `lab setup`), and never reports a time measured under emulation
//! as if it were native.

pub mod build;
pub mod cache;
pub mod clock;
pub mod config;
pub mod deb;
pub mod doctor;
pub mod fetch;
pub mod image;
pub mod kernel;
pub mod ktap;
pub mod model;
pub mod process;
pub mod protocol;
pub mod source;
pub mod suite;
pub mod take;
pub mod vm;
