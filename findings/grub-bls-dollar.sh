#!/bin/sh
# Entries of the Boot Loader Specification that GRUB reads (blscfg, in GRUB since
# 2.14) may hold variables. Everywhere else in GRUB a backslash guards a $.
# Guess: 'memmap=3G\$0x100000000' in the options line arrives as it does from a
# linux line of grub.cfg, with the $ and without the backslash.
#
# Seen: 2026-11-29, GRUB 2.14-4 of Debian, UEFI (EDK II 2022.11) in QEMU 7.2: $
# begins a name, with or without a backslash. A name that is not set is gone with
# the blank behind it, so that the next parameter is glued to this one:
# 'memmap=3G$0x100000000 quiet' arrives as 'memmap=3Gquiet', which cuts off all
# memory above 3 GiB. A variable whose value has the backslash works. And a last
# word of one character behind a variable is lost, set or not: '$tuned_params 3'
# boots into no runlevel 3.
# Needs curl, dpkg, mtools, dosfstools, ovmf and qemu-system-x86.
set -eu
folder=$(mktemp -d)
machine=
trap 'rm -rf "$folder"; [ -z "$machine" ] || kill "$machine" 2>/dev/null || true' EXIT
ok=yes
pool=http://deb.debian.org/debian/pool/main
package() {
  curl -fsS -o "$folder/p.deb" "$1"
  dpkg-deb -x "$folder/p.deb" "$folder/x"
}
root=$folder/root
mkdir -p "$root/EFI/BOOT" "$root/EFI/debian" "$root/loader/entries"
package "$pool/g/grub2/grub-efi-amd64-unsigned_2.14-4_amd64.deb"
package "$pool/g/grub2/grub-efi-amd64-bin_2.14-4_amd64.deb"
package http://deb.debian.org/debian-security/pool/updates/main/l/linux-signed-amd64/linux-image-6.1.0-57-cloud-amd64_6.1.192-3_amd64.deb
cp "$folder/x/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi" "$root/EFI/BOOT/BOOTX64.EFI"
mkdir "$root/EFI/debian/x86_64-efi"
cp "$folder/x/usr/lib/grub/x86_64-efi/"*.mod "$folder/x/usr/lib/grub/x86_64-efi/"*.lst "$root/EFI/debian/x86_64-efi"
cp "$folder"/x/boot/vmlinuz-* "$root/vmlinuz"
cat >"$root/EFI/debian/grub.cfg" <<'CFG'
serial --unit=0
terminal_output serial
set timeout=0
insmod part_gpt
insmod fat
insmod blsuki
set prefix=($root)/EFI/debian
set reserved='memmap=3G\$0x100000000'
blscfg --path ($root)/loader/entries --enable-fallback
CFG
# check OPTIONS EXPECTED
check() {
  printf 'title one\nversion 1\nlinux /vmlinuz\noptions console=ttyS0 earlyprintk=ttyS0 %s\n' "$1" >"$root/loader/entries/one.conf"
  rm -f "$folder/disk" "$folder/serial"
  truncate -s 200M "$folder/disk"
  mkfs.vfat "$folder/disk" >/dev/null
  (cd "$root" && mcopy -i "$folder/disk" -s -Q ./* ::/)
  cp /usr/share/OVMF/OVMF_VARS_4M.fd "$folder/vars"
  mkfifo "$folder/serial"
  qemu-system-x86_64 -machine q35 -accel tcg -m 1024 -nic none -display none -no-reboot \
    -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
    -drive if=pflash,format=raw,file="$folder/vars" \
    -drive format=raw,file="$folder/disk" -serial stdio </dev/null >"$folder/serial" 2>&1 &
  machine=$!
  seen=$(sed -n '/Command line: /{s/.*Command line: \(BOOT_IMAGE=[^ ]* \)\{0,1\}console=ttyS0 earlyprintk=ttyS0 *//p;q}' "$folder/serial" | tr -d '\r')
  kill "$machine" 2>/dev/null || true
  wait "$machine" 2>/dev/null || true
  echo "seen: options $(echo "$1" | tr '\n' '|'): '$seen'"
  [ "$seen" = "$2" ] || ok=no
}
check 'memmap=3G$0x100000000 quiet' 'memmap=3Gquiet'
check 'memmap=3G\$0x100000000 quiet' 'memmap=3Gquiet'
check '$reserved quiet' 'memmap=3G$0x100000000 quiet'
check 'quiet $tuned_params 3' 'quiet'
check 'quiet $tuned_params 33' 'quiet 33'
[ "$ok" = yes ]
