#!/bin/sh
# journalctl, syslog files and dmesg -T write the month as strftime's %b does in
# the locale of whoever asks. A reader of such lines splits at blanks.
# Guess: an abbreviated month is one word of letters, perhaps with a dot.
#
# Seen: 2026-11-29, locales 2.36-9+deb12u14 (glibc 2.36): November is 'Thg 11' in
# vi_VN, 'nov  ' with blanks behind it in et_EE, '11-р сар' in mn_MN, 'de nov.' in
# ca_ES; January is ' 1月' with a blank before it in ja_JP.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -q locales=2.36-9+deb12u14 >/dev/null 2>&1
dpkg-deb -x locales_*.deb package
export I18NPATH=$folder/package/usr/share/i18n LOCPATH=$folder
ok=yes
check() {
  localedef -c -i "$1" -f UTF-8 "$folder/$1.UTF-8" 2>/dev/null || true
  seen=$(LC_ALL=$1.UTF-8 date -u -d "2026-$2-06 16:39:14" '+%b %d %H:%M:%S')
  echo "seen: $1: '$seen'"
  [ "$seen" = "$3 06 16:39:14" ] || ok=no
}
check vi_VN 11 'Thg 11'
check et_EE 11 'nov  '
check mn_MN 11 '11-р сар'
check ca_ES 11 'de nov.'
check ja_JP 01 ' 1月'
[ $ok = yes ]
