#!/usr/bin/env bash
# The guest's kernel: Debian's linux-source-6.1, with the configuration and the overlay that lie beside this script, built
# by clang with the counting pass. Built once for each content of these, and kept in $XDG_CACHE_HOME/understudy (default
# ~/.cache/understudy). One build at a time, always in the same folder there, so that ccache knows again what did not change.
#
#   build.sh --plugin understudy_count.so --abi paravirtual.h --out FOLDER
#        puts vmlinux, its configuration and its version into FOLDER, building them first if need be
#   UNDERSTUDY_LINUX_SOURCE=linux-source-6.1.tar.xz ...
#        uses that source instead of fetching Debian's package
#   build.sh --uncounted --abi paravirtual.h --out FOLDER
#        builds it without the pass, to measure what counting costs (understudy bench guest); never to be replicated
#   build.sh --kernel VMLINUX --out FOLDER
#        puts that kernel into FOLDER and builds nothing
set -euo pipefail
export LC_ALL=C  # what apt says is read here, and the order of files is part of a key

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=linux-source-6.1
tarball=$package.tar.xz
plugin= abi= out= kernel= uncounted=
while [ $# -gt 0 ]; do
    case $1 in
        --uncounted)
            uncounted=yes
            shift
            continue
            ;;
        --kernel) kernel=$2 ;;
        --plugin) plugin=$2 ;;
        --abi) abi=$2 ;;
        --out) out=$2 ;;
        *) echo "build.sh: what is $1?" >&2 && exit 2 ;;
    esac
    shift 2
done

say() { printf '== %s\n' "$*" >&2; }
fail() {
    printf 'guest/linux/build.sh: %s\n' "$*" >&2
    exit 1
}
[ -n "$out" ] || fail "--out is needed"

if [ -n "$kernel" ]; then
    [ -r "$kernel" ] || fail "cannot read $kernel"
    version=$(grep -a -o -m 1 'Linux version 6\.1\.[0-9][^ ]*' "$kernel" | head -n 1 | cut -d' ' -f3) || true
    [ -n "$version" ] || fail "$kernel is no Linux 6.1; name the vmlinux of a guest's kernel"
    mkdir -p "$out"
    llvm-strip-14 --strip-debug -o "$out/vmlinux" "$kernel"
    printf '%s (from %s)\n' "$version" "$kernel" >"$out/version"
    # The configuration that it carries (CONFIG_IKCONFIG): gzip behind a mark.
    mark=$(grep -a -b -o -m 1 IKCFG_ST "$kernel" | head -n 1 | cut -d: -f1) || true
    { [ -z "$mark" ] || tail -c +$((mark + 9)) "$kernel" | gzip -dc 2>/dev/null; } >"$out/config" || true
    exit 0
fi
[ -n "$uncounted" ] || [ -r "$plugin" ] || fail "--plugin is needed"
[ -r "$abi" ] || fail "--abi is needed"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/understudy
mkdir -p "$cache" "$out"

# The version in the archive now, for the key; what was built from an older one stays usable until the archive moves on.
if [ -n "${UNDERSTUDY_LINUX_SOURCE-}" ]; then
    [ -r "$UNDERSTUDY_LINUX_SOURCE" ] || fail "UNDERSTUDY_LINUX_SOURCE=$UNDERSTUDY_LINUX_SOURCE cannot be read"
    version=$(sha256sum "$UNDERSTUDY_LINUX_SOURCE" | cut -c1-16)
else
    version=$(apt-cache policy $package 2>/dev/null | sed -n 's/^  Candidate: //p')
    [ -n "$version" ] && [ "$version" != "(none)" ] ||
        fail "apt knows no package $package: run apt-get update, or set UNDERSTUDY_LINUX_SOURCE to Debian 12's $tarball"
fi

# What the kernel follows from.
key=$({
    echo "$version$uncounted"
    clang-14 --version | head -n 1
    cat "$abi" "$here/config" "$here/build.sh"
    find "$here/overlay" "$here/../toolchain" -type f \( -name '*.[chS]' -o -name '*.cpp' -o -name '*.hpp' -o -name '*.mk' -o -name Makefile \) -print0 | sort -z | xargs -0 cat
} | sha256sum | cut -c1-16)
kept=$cache/linux-$key

publish() {
    cp -f "$kept/vmlinux" "$kept/config" "$kept/version" "$out/"
}
if [ -f "$kept/complete" ]; then
    publish
    exit 0
fi

# Whoever was first builds for all.
work=$cache/linux-build
exec 9>"$cache/linux-build.lock"
if ! flock -n 9; then
    say "the guest's kernel: waiting for another build of it"
    flock 9
fi
if [ -f "$kept/complete" ]; then
    publish
    exit 0
fi

begin=$SECONDS
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
if [ -z "${UNDERSTUDY_LINUX_SOURCE-}" ]; then
    archive=$cache/${package}_${version//:/%3a}.deb
    if [ ! -f "$archive" ]; then
        say "the guest's kernel: fetching Debian's $package $version (140 MB, once)"
        (cd "$work" && apt-get -q -oAPT::Sandbox::User= download "$package=$version" >&2) ||
            fail "cannot fetch $package $version; connect to the network, or set UNDERSTUDY_LINUX_SOURCE to its $tarball"
        mv "$work"/$package*.deb "$archive"
    fi
    dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$work" "./usr/src/$tarball"
    UNDERSTUDY_LINUX_SOURCE=$work/usr/src/$tarball
fi
say "the guest's kernel: building it from $package $version (once; about ten minutes on two cores)"
mkdir "$work/source" "$work/build"
tar -xJf "$UNDERSTUDY_LINUX_SOURCE" -C "$work/source" --strip-components=1

# The overlay is a folder of the kernel's own build, and names the functions that it stands in front of.
overlay=$work/source/arch/x86/understudy
mkdir "$overlay"
cp "$here"/overlay/* "$abi" "$overlay/"
echo 'obj-y += understudy/' >>"$work/source/arch/x86/Kbuild"
echo 'include $(srctree)/arch/x86/understudy/link.mk' >>"$work/source/arch/x86/Makefile"

# The pass without what tells where it was built: the same bytes from every build folder, at the same path.
pass=
if [ -z "$uncounted" ]; then
    llvm-objcopy-14 --strip-debug --remove-section=.note.gnu.build-id "$plugin" "$work/understudy_count.so"
    pass=-fpass-plugin=$work/understudy_count.so
    # ccache does not know that the pass is one of the compiler's inputs.
    export CCACHE_EXTRAFILES=$work/understudy_count.so
fi
export KBUILD_BUILD_USER=understudy KBUILD_BUILD_HOST=understudy KBUILD_BUILD_TIMESTAMP='1970-01-01'
# What the kernel's build calls GCC_PLUGINS_CFLAGS it leaves out where plugins do not belong: the vDSO is not counted.
build() {
    make -s -C "$work/source" O="$work/build" LLVM=-14 CC="ccache clang-14" \
        KCFLAGS="$pass -include $overlay/instructions.h" GCC_PLUGINS_CFLAGS="$pass" \
        KAFLAGS="-include $overlay/hypercalls.h" "$@"
}
KCONFIG_ALLCONFIG=$here/config build allnoconfig >&2
# A choice that the kernel's configuration did not take is a mistake in ours.
while read -r line; do
    grep -qxF "$line" "$work/build/.config" || fail "the kernel's configuration dropped $line"
done < <(grep -E '^CONFIG_' "$here/config")
while read -r _ option _; do
    ! grep -q "^$option=" "$work/build/.config" || fail "the kernel's configuration has $option all the same"
done < <(grep -E '^# CONFIG_.* is not set' "$here/config")
build -j"$(nproc)" vmlinux >&2

llvm-strip-14 --strip-debug -o "$work/vmlinux" "$work/build/vmlinux"
mkdir "$work/kept"
mv "$work/vmlinux" "$work/kept/vmlinux"
cp "$work/build/.config" "$work/kept/config"
printf '%s (Debian %s %s)\n' "$(build kernelrelease)" "$package" "$version" >"$work/kept/version"
touch "$work/kept/complete"
mv -T "$work/kept" "$kept" 2>/dev/null || [ -f "$kept/complete" ]
publish
say "the guest's kernel: built in $((SECONDS - begin)) s"
