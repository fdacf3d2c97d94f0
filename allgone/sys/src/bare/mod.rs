//! System calls without a C library, for code that may not allocate, lock or panic: the guard's
//! program, which compiles this directory too, and any fork that is not executed. It names nothing
//! outside of it.

pub(crate) mod call;
pub(crate) mod raw;
pub(crate) mod tree;
