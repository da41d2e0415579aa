#!/bin/sh
# A kernel prints 'last_pfn = 0x...' early in its log, from
# e820__end_of_ram_pfn().
# Guess: it is the page behind the last one of RAM, so that it tells whether
# mem= took effect.
#
# Seen: 2026-11-30, Linux 6.1.192 and 6.12.117 of Debian in QEMU 7.2: up to 6.1
# it is. In 6.12 (and in 7.3) ACPI data counts as well: on a machine with 512 MiB
# 'memmap=1M#0x100000000' moves it from 0x1ffe0 to 0x100100, with no RAM there,
# and mem= seems to be without effect on machines whose ACPI tables lie above it.
# The line comes a second time, of what is below 4 GiB.
# Needs curl, dpkg and qemu-system-x86.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ok=yes
pool=http://deb.debian.org/debian-security/pool/updates/main/l/linux-signed-amd64

# check PACKAGE EXPECTED
check() {
  curl -fsS -o "$folder/p.deb" "$pool/$1"
  rm -rf "$folder/x"
  dpkg-deb -x "$folder/p.deb" "$folder/x"
  for words in '' 'memmap=1M#0x100000000'; do
    # It ends in a panic, since there is no file system.
    qemu-system-x86_64 -machine q35 -accel tcg -m 512 -nodefaults -no-reboot -display none \
      -serial "file:$folder/console" -kernel "$folder"/x/boot/vmlinuz-* \
      -append "earlyprintk=ttyS0 console=ttyS0 panic=-1 $words" </dev/null
    grep -a -o 'last_pfn = 0x[0-9a-f]*' "$folder/console" | sed 's/.*= //' | head -n 1
  done | tr '\n' ' ' >"$folder/seen"
  seen=$(cat "$folder/seen")
  echo "${1%%_*}: last_pfn ${seen% }"
  [ "${seen% }" = "$2" ] || { echo "expected $2"; ok=no; }
}
check linux-image-6.1.0-57-cloud-amd64_6.1.192-3_amd64.deb '0x1ffe0 0x1ffe0'
check linux-image-6.12.117+deb13-cloud-amd64_6.12.117-1_amd64.deb '0x1ffe0 0x100100'
[ "$ok" = yes ]
