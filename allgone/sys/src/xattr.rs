//! Extended attributes of a file.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use crate::check;

/// Reads the attribute `name` of the file at `path`, at most 256 bytes of it.
///
/// Errors: `ENODATA` it has none, `EOPNOTSUPP` the file system has no attributes, `ERANGE` it is
/// longer, `EINVAL` a NUL in the path. `user.*` on cgroup v2: Linux 5.7. Source: getxattr(2).
pub fn get(path: &Path, name: &CStr) -> Result<Vec<u8>, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut value = vec![0u8; 256];
    // SAFETY: both strings end with a NUL and outlive the call; the kernel writes at most the
    // length of `value`, which is given, and keeps no reference.
    let length = check(unsafe {
        libc::syscall(
            libc::SYS_getxattr,
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr(),
            value.len(),
        )
    })?;
    value.truncate(usize::try_from(length).unwrap_or(0));
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_the_attribute_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = get(file.path(), c"user.allgone-test").unwrap_err();
        assert!(
            matches!(error, Errno::ENODATA | Errno::EOPNOTSUPP),
            "{error}"
        );
        assert_eq!(get(Path::new("/nowhere"), c"user.x"), Err(Errno::ENOENT));
    }
}
