#!/bin/sh
# The memory map that a kernel gets from kexec, by each of its two system calls.
#
# Guess: the firmware's map, entry for entry, whichever call loads it: kexec-tools
# read it from /sys/firmware/memmap, and the kernel keeps a copy of its own.
#
# Seen (2026-11-29, kexec-tools 2.0.25-3+deb12u3, Linux 6.1.192-2 of Debian 12,
# QEMU 7.2 with SeaBIOS): with kexec_file_load (-s) it is the firmware's map. With
# kexec_load (-c), which is what `kexec -l` does there unless it is told otherwise,
# the first range of RAM begins at 0x400 and no longer at 0: the kernel is told
# that the first kilobyte is not there. Whoever compares maps across a kexec
# takes that for another firmware.
set -eu
KERNEL=linux-image-6.1.0-56-cloud-amd64=6.1.192-2
KEXEC=kexec-tools=1:2.0.25-3+deb12u3
# kexec is linked with them.
XEN='libxenmisc4.17 libxentoollog1 libxencall1 libxenevtchn1 libxengnttab1 libxenforeignmemory1 libxendevicemodel1 libxentoolcore1'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# shellcheck disable=SC2086
apt-get -q download "$KERNEL" "$KEXEC" libc6 liblzma5 zlib1g busybox-static $XEN >/dev/null 2>&1 || {
  echo "cannot fetch $KERNEL and $KEXEC: this needs the archives of Debian 12"
  exit 3
}
for package in *.deb; do dpkg-deb --extract "$package" root; done
mkdir -p image/bin image/dev image/proc image/sys image/lib64 image/lib/x86_64-linux-gnu
cp root/bin/busybox image/bin/
cp root/sbin/kexec image/bin/
cp -L root/lib64/ld-linux-x86-64.so.2 image/lib64/
for library in libc libz liblzma libxen; do
  find root -path "*-linux-gnu/$library*.so.*" -exec cp -L '{}' image/lib/x86_64-linux-gnu/ ';'
done
cp root/boot/vmlinuz-* image/vmlinuz
cat >image/init <<'END'
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in by=*) how=-${word#by=} ;; esac
done
/bin/kexec $how -l /vmlinuz --command-line='console=ttyS0 panic=-1 second'
/bin/kexec -e
END
sed -i 's|/bin/busybox sh|/bin/busybox ash|' image/init
chmod 755 image/init
(cd image && find . | "$work/root/bin/busybox" cpio -o -H newc 2>/dev/null | gzip) >initrd
# Prints the first range of the map of each of the two kernels.
first_ranges() {
  timeout 300 qemu-system-x86_64 -nodefaults -display none -machine pc -accel tcg -m 1G -no-reboot \
    -serial stdio -kernel image/vmlinuz -initrd initrd -append "console=ttyS0 panic=-1 by=$1" </dev/null |
    tr -d '\r' | sed -n '/BIOS-provided physical RAM map/{n;s/.*\[mem \([^]]*\)\].*/\1/p;}'
}
by_load=$(first_ranges c | tr '\n' ' ')
by_file_load=$(first_ranges s | tr '\n' ' ')
echo "kexec_load:      $by_load"
echo "kexec_file_load: $by_file_load"
firmware=0x0000000000000000-0x000000000009fbff
cut=0x0000000000000400-0x000000000009fbff
if [ "$by_load/$by_file_load" = "$firmware $cut /$firmware $firmware " ]; then
  echo 'as seen'
else
  echo 'this is not what was seen'
  exit 1
fi
