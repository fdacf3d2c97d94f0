#!/bin/sh
# Makes a Debian package of the shipped binary: deb.sh BINARY [DIRECTORY]. It needs dpkg-deb, and
# neither root nor the network. With `--try PACKAGE` it installs that into an empty root and runs
# the command there (as root). Prints the path of the package.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

version() {
    sed -n 's/^version = "\(.*\)"/\1/p' "$here/../../Cargo.toml" | head -n 1
}

build() {
    binary=$1
    out=${2:-.}
    arch=$(dpkg --print-architecture)
    # A dynamic one would depend on the libraries of the machine that built it.
    if readelf -l "$binary" | grep -q INTERP; then
        echo "deb.sh: $binary is not static" >&2
        exit 1
    fi
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    chmod 755 "$root"
    install -D -m 755 "$binary" "$root/usr/bin/allgone"
    # Not in /etc: a parser before 4.0 would refuse it, and all of AppArmor's start with it.
    install -D -m 644 "$here/apparmor/allgone" "$root/usr/share/allgone/apparmor/allgone"
    doc=$root/usr/share/doc/allgone
    install -D -m 644 "$here/../README.md" "$doc/README.md"
    install -m 644 "$here/../THREATS.md" "$here/../report.schema.json" "$doc/"
    cat "$here/../../LICENSE-APACHE" "$here/../../LICENSE-MIT" > "$doc/copyright"
    chmod 644 "$doc/copyright"
    mkdir -p "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions"
    "$binary" man | gzip -9n > "$root/usr/share/man/man1/allgone.1.gz"
    "$binary" completions bash > "$root/usr/share/bash-completion/completions/allgone"
    find "$root" -type d -exec chmod 755 {} +
    find "$root/usr/share" -type f -exec chmod 644 {} +
    mkdir "$root/DEBIAN"
    size=$(du -sk --exclude=DEBIAN "$root" | cut -f 1)
    cat > "$root/DEBIAN/control" <<CONTROL
Package: allgone
Version: $(version)
Architecture: $arch
Maintainer: allgone <allgone@localhost>
Installed-Size: $size
Section: utils
Priority: optional
Description: run a program, and know when all that it started is gone
 Runs a program, waits until everything that it started is gone, ends all of it
 when asked to, and proves it. With --closed the program leaves no file behind
 and reaches no local network.
CONTROL
    # Where the parser knows the profile's rules it is put in force. Elsewhere AppArmor restricts no
    # user namespaces, and there is nothing to do. /etc/apparmor.d/local/allgone is the site's.
    cat > "$root/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
set -e
profile=$DPKG_ROOT/usr/share/allgone/apparmor/allgone
if [ "$1" = configure ] && command -v apparmor_parser > /dev/null &&
    apparmor_parser -Q -K "$profile" 2> /dev/null; then
    install -D -m 644 "$profile" "$DPKG_ROOT/etc/apparmor.d/allgone"
    if [ -z "$DPKG_ROOT" ] && [ -d /sys/kernel/security/apparmor ]; then
        apparmor_parser -r -T -W /etc/apparmor.d/allgone || true
    fi
fi
POSTINST
    cat > "$root/DEBIAN/prerm" <<'PRERM'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -f "$DPKG_ROOT/etc/apparmor.d/allgone" ]; then
    if [ -z "$DPKG_ROOT" ] && [ -d /sys/kernel/security/apparmor ]; then
        apparmor_parser -R /etc/apparmor.d/allgone || true
    fi
    rm "$DPKG_ROOT/etc/apparmor.d/allgone"
fi
PRERM
    chmod 755 "$root/DEBIAN/prerm"
    chmod 755 "$root/DEBIAN/postinst"
    package=$out/allgone_$(version)_$arch.deb
    dpkg-deb --root-owner-group --build "$root" "$package" > /dev/null
    echo "$package"
}

# Installs it into a root with nothing but dpkg's database, and runs it there: it needs nothing.
try() {
    package=$1
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/tmp" "$root/proc"
    : > "$root/var/lib/dpkg/status"
    : > "$root/var/lib/dpkg/available"
    # There is no shell in it for the script; there is no AppArmor in it either.
    dpkg --root="$root" --force-script-chrootless --install "$package" > /dev/null
    dpkg --root="$root" --verify allgone
    test "$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Status}' allgone)" = \
        "install ok installed"
    chroot "$root" /usr/bin/allgone run --help > /dev/null
    chroot "$root" /usr/bin/allgone run --bare -- /usr/bin/allgone run --help > /dev/null
    dpkg --root="$root" --force-script-chrootless --purge allgone > /dev/null 2>&1
    left=$(find "$root/usr" "$root/etc" -type f 2> /dev/null || true)
    test -z "$left" || { echo "left after the purge: $left" >&2; exit 1; }
    echo "installed, run and purged: $package"
}

case ${1:-} in
--try) try "$2" ;;
"" | -*)
    echo "usage: deb.sh BINARY [DIRECTORY] | deb.sh --try PACKAGE" >&2
    exit 2
    ;;
*) build "$@" ;;
esac
