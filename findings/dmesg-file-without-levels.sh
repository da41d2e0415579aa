#!/bin/sh
# What dmesg makes of a log that dmesg has printed: `dmesg --file`.
#
# Guess: it prints the lines as they are, and with --json an object for each.
#
# Seen (2026-12-01, util-linux 2.38.1 of Debian 12): only a line that begins with
# a level (<6>, as in /dev/kmsg and with `dmesg --raw`) begins a record. A log with
# stamps alone is one record: every line but the first is shifted to the right as
# its continuation, and neither --level nor --ctime finds the others. With --json
# that record holds the whole file. With levels each message holds, beside its own
# text, all of the file behind it, so a log of 300 lines becomes 3 MB, and "pri" of
# <30> (daemon, info) is 7 and not 30. util-linux 2.41 (tried by hand) has mended
# the two of --json, and still takes a log without levels for one record.
set -eu
VERSION=2.38.1-5+deb12u3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -q download "util-linux=$VERSION" "libsmartcols1=$VERSION" >/dev/null 2>&1 || {
  echo "cannot fetch util-linux $VERSION: this needs the archive of Debian 12"
  exit 3
}
for package in *.deb; do dpkg-deb --extract "$package" root; done
program=$(find root -path '*bin/dmesg')
dmesg() { LC_ALL=C LD_LIBRARY_PATH=$(echo root/usr/lib/*-linux-gnu) "$program" "$@"; }
cat >plain <<'END'
[    0.000000] Linux version 6.12.1
[    0.000000] Command line: ro
[    1.500000] tdx: a line
END
sed 's/^/<6>/' plain >levels
echo '<30>[    2.000000] systemd[1]: a line' >>levels
shifted=$(dmesg --file plain | grep -c '^ \{15\}\[')
records=$(dmesg --json --file plain | grep -c '"msg"')
rest=$(dmesg --json --file levels | grep -c '"msg".*systemd')
pri=$(dmesg --json --file levels | sed -n 's/.*"pri": \([0-9]*\),/\1/p' | tail -n 1)
echo "without levels: $shifted of 3 lines are shifted, --json has $records record"
echo "with levels: $rest of 4 messages of --json hold the last one, its pri is $pri"
if [ "$shifted/$records/$rest/$pri" = 2/1/4/7 ]; then
  echo 'as seen'
else
  echo 'this is not what was seen'
  exit 1
fi
