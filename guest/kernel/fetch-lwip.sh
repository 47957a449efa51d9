#!/bin/sh
# Fetches lwIP's source from Debian's source package, once: into $XDG_CACHE_HOME/understudy (default ~/.cache).
#
#   fetch-lwip.sh                 prints the folder of the unpacked tree, fetching it first if need be
#   UNDERSTUDY_LWIP=FOLDER ...    uses that tree (the folder that has src/core) and fetches nothing
set -eu

version=2.1.3+dfsg1
package_version=$version-2
orig=lwip_$version.orig.tar.xz
orig_sha256=0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24
patches=lwip_$package_version.debian.tar.xz
patches_sha256=c5a48413d362cc757032cdd58f528f75eb64ee781ca46ca24f010b49b0e62a90

fail() {
    echo "fetch-lwip: $1" >&2
    exit 1
}

if [ -n "${UNDERSTUDY_LWIP-}" ]; then
    [ -f "$UNDERSTUDY_LWIP/src/core/tcp.c" ] || fail "UNDERSTUDY_LWIP=$UNDERSTUDY_LWIP has no src/core/tcp.c; name the folder of an unpacked lwIP"
    echo "$UNDERSTUDY_LWIP"
    exit 0
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/understudy
tree=$cache/lwip-$package_version
if [ -f "$tree/complete" ]; then
    echo "$tree"
    exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/lwip.XXXXXX")
trap 'rm -rf "$work"' EXIT
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || fail "no $keyring; install debian-archive-keyring"

# The mirror that the system itself uses.
mirror=$(apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/ bookworm main$//p' | head -n 1)
[ -n "$mirror" ] || fail "apt has no source for Debian 12 (bookworm main); add one, or unpack lwIP $package_version and set UNDERSTUDY_LWIP to its folder"

# A source list and lists of its own: the system's need no deb-src line, and nothing of the system's is touched.
mkdir -p "$work/sources" "$work/lists/partial" "$work/archives/partial"
cat > "$work/sources/lwip.sources" <<SOURCES
Types: deb-src
URIs: $mirror
Suites: bookworm
Components: main
Signed-By: $keyring
SOURCES
apt() {
    apt-get -qq -oDir::Etc::sourcelist=/dev/null -oDir::Etc::sourceparts="$work/sources" \
        -oDir::State::Lists="$work/lists" -oDir::Cache="$work" -oAPT::Sandbox::User= "$@"
}
cd "$work"
{ apt update && apt source --download-only "lwip=$package_version"; } > apt.log 2>&1 || {
    cat apt.log >&2
    fail "cannot fetch lwIP's source package $package_version from Debian; connect to the network, or unpack it and set UNDERSTUDY_LWIP to its folder"
}
printf '%s  %s\n' "$orig_sha256" "$orig" "$patches_sha256" "$patches" | sha256sum --check --quiet >&2 ||
    fail "lwIP's source package is not the one that was expected; nothing was kept"

# Debian's tree: upstream's files with Debian's corrections.
mkdir tree
tar -xJf "$orig" -C tree --strip-components=1
tar -xJf "$patches" -C tree
while read -r name _; do
    case $name in '' | '#'*) continue ;; esac
    patch -s -d tree -p1 < "tree/debian/patches/$name" || fail "Debian's patch $name does not apply"
done < tree/debian/patches/series
touch tree/complete
if ! mv -T tree "$tree" 2> /dev/null; then
    [ -f "$tree/complete" ] || { rm -rf "$tree" && mv -T tree "$tree"; } # another build was first, or one was cut short
fi
echo "$tree"
