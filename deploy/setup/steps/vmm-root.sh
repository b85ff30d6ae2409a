#!/usr/bin/env bash
# Step: the machine root, a folder with QEMU, what it links to, qemu-img, setpriv and the guest kernel.
# QEMU runs jailed with this folder as its read-only root, so what is not in it cannot be run by a guest that breaks out:
# there is no shell and no program that changes user by itself.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"
# shellcheck source=../debian-root.sh
source "$step_folder/../debian-root.sh"

root=$vmm_root.partial
# kmod opens liblzma at run time only, so no dependency brings it.
extract_packages "$root" base-files libc-bin util-linux kmod liblzma5 qemu-system-x86 qemu-utils linux-image-cloud-amd64

kernels=("$root"/boot/vmlinuz-*)
kernel_version=${kernels[0]##*/vmlinuz-}
if [[ ${#kernels[@]} != 1 || ! -f ${kernels[0]} || ! -d $root/usr/lib/modules/$kernel_version ]]; then
  echo "cannot find the guest kernel and its modules in what $suite brought"
  exit 1
fi
# What the packages' own scripts would have done.
run_inside "$root" /usr/sbin/depmod "$kernel_version"

# QEMU as a microvm needs one firmware file; the rest belongs to machines and devices that Portico never starts.
find "$root/usr/share/qemu" -mindepth 1 ! -name qboot.rom ! -name linuxboot_dma.bin ! -name pvh.bin -delete
rm -rf -- "$root"/usr/share/{seabios,ipxe,ovmf,OVMF,perl5,initramfs-tools,zoneinfo,pixmaps,icons,applications,mime,polkit-1}
rm -rf -- "$root"/usr/lib/{udev,systemd,linux-boot-probes,perl5,dracut,tmpfiles.d,sysusers.d} "$root"/usr/lib/ipxe
rm -rf -- "$root"/usr/lib/x86_64-linux-gnu/{gconv,systemd,perl-base,perl5,security,vdeplug,rsocket}
rm -rf -- "$root"/usr/lib/modules/"$kernel_version"/kernel/{drivers/gpu,drivers/hv,sound}
rm -f -- "$root"/usr/bin/{qemu-system-i386,qemu-nbd,qemu-io,qemu-pr-helper,qemu-vmsr-helper,systemd-*,*ctl,udevadm} "$root"/usr/sbin/{*passwd,unix_*}
rm -f -- "$root"/usr/bin/{su,passwd,chsh,chfn,chage,expiry,gpasswd,newgrp}
rm -f -- "$root"/boot/{System.map,initrd.img}-* "$root"/{initrd.img,vmlinuz}*
find "$root" -xdev -type f -perm /6000 -exec chmod a-s {} +
run_inside "$root" /usr/sbin/ldconfig

# Places to mount on: the root is read-only when it is used.
mkdir -p -- "$root"/{dev,proc,sys,run,tmp,mnt,srv,opt,media,home}

qemu_version=$(run_inside "$root" /usr/bin/qemu-system-x86_64 --version)
qemu_version=${qemu_version#QEMU emulator version }
printf 'kernel_version=%s\nqemu_version=%s\n' "$kernel_version" "${qemu_version%%[ $'\n']*}" >"$root/etc/portico-vmm"
run_inside "$root" /usr/bin/qemu-img --version
run_inside "$root" /usr/bin/setpriv --version
mv -T -- "$root" "$vmm_root"
