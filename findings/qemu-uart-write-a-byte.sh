#!/bin/sh
# How many system calls QEMU makes for what a guest writes to its serial port.
#
# Guess: the 16550A has a FIFO of 16 bytes, and the guest switches it on: 4096
# bytes reach the file of `-serial file:` in some 256 pieces, or in fewer.
#
# Seen (2026-11-30, QEMU 7.2.22 of Debian 12, strace 6.1): 4096 writev() of one
# byte each, FIFO or not. The emulated port is always ready, so each byte leaves
# it at once. Whoever watches the file with inotify is woken up for each: a boot
# of Linux with 17 KB on its console costs some thousand looks at the file.
set -eu
STRACE=strace=6.1-0.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -q download "$STRACE" libunwind8=1.6.2-3 >/dev/null 2>&1 || {
  echo "cannot fetch $STRACE: this needs the archive of Debian 12"
  exit 3
}
for package in *.deb; do dpkg-deb --extract "$package" root; done
# A boot sector: FIFO on, 4096 times 'x' when the port says that it is empty,
# and out by the device isa-debug-exit.
{
  printf '\272\372\003\260\007\356\271\000\020\272\375\003\354\250\040\164\373'
  printf '\272\370\003\260\170\356\342\360\260\000\346\364\364'
} >sector
truncate -s 510 sector
printf '\125\252' >>sector
LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu timeout 60 "$work/root/usr/bin/strace" \
  -f -qq -e trace=write,writev,pwrite64 -o calls qemu-system-x86_64 -nodefaults -display none \
  -machine pc -accel tcg -m 16M -serial "file:$work/out" -device isa-debug-exit,iobase=0xf4,iosize=1 \
  -drive "file=sector,format=raw,if=floppy" </dev/null || [ $? -eq 1 ]
bytes=$(wc -c <out)
calls=$(grep -c 'writev\{0,1\}(.*"x"' calls || true)
echo "$bytes bytes, $calls system calls of one byte"
if [ "$bytes/$calls" = 4096/4096 ]; then
  echo "Seen: each byte is written by itself"
else
  echo "this has changed"
  exit 1
fi
