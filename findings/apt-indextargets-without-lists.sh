#!/bin/sh
# apt-get indextargets and sources whose lists were never fetched.
#
# Guess: it prints a line for every index of every configured source, since it
# is there to tell which files a source stands for.
#
# Seen (2026-11-28, apt 2.6.1 of Debian 12): it prints nothing at all, and exits
# with 0, until `apt-get update` has fetched a Release file of that source. With
# --no-release-info the same command prints the lines from the configuration
# alone. A tool that asks apt for the mirror of a new container takes the silence
# for "no sources".
set -eu
VERSION=2.6.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -q download "apt=$VERSION" "libapt-pkg6.0=$VERSION" >/dev/null 2>&1 || {
  echo "cannot fetch apt $VERSION: this needs the archive of Debian 12"
  exit 3
}
for package in *.deb; do dpkg-deb --extract "$package" root; done
mkdir -p lists/partial
echo 'deb [trusted=yes] http://debian.example/debian bookworm main' >sources.list
cat >apt.conf <<END
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/lists";
END
targets() {
  APT_CONFIG=$work/apt.conf LD_LIBRARY_PATH=$(echo root/usr/lib/*-linux-gnu) \
    root/usr/bin/apt-get indextargets "$@" --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' | sort -u
}
plain=$(targets)
configured=$(targets --no-release-info)
echo "indextargets:                   '$plain'"
echo "indextargets --no-release-info: '$configured'"
[ -z "$plain" ] && [ "$configured" = 'http://debian.example/debian/ bookworm main' ] || {
  echo 'this is not what was seen'
  exit 1
}
echo 'as seen'
