import { expect, it } from 'vitest'
import { properties } from './argument.ts'
import { commandLine } from './command-line.ts'

const common = {
  name: 'portico-abc.vmxyz',
  memoryMib: 1024,
  tscKhz: 2_299_995,
  start: 'boot',
  layers: ['raw'],
} as const

/** One switch a line. */
function lines(args: readonly string[]): string {
  return args.join(' ').replaceAll(/ (?=-[A-Za-z])/g, '\n')
}

it('prints the whole command line under emulation', () => {
  expect(lines(commandLine({ ...common, accelerator: 'tcg', vcpus: 1 }))).toMatchInlineSnapshot(`
    "-name guest=portico-abc.vmxyz
    -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
    -nodefaults
    -no-user-config
    -display none
    -no-reboot
    -S
    -accel tcg,thread=single,tb-size=128
    -M microvm,x-option-roms=off,isa-serial=on,rtc=on,suppress-vmdesc=on,memory-backend=mem
    -bios qboot.rom
    -cpu max,-erms,-fsrm
    -smp cpus=1
    -m size=1024M
    -object memory-backend-file,id=mem,mem-path=/run/memory,size=1024M,share=on
    -kernel /run/kernel
    -initrd /run/initramfs
    -append quiet reboot=t panic=-1 pci=off console=ttyS0 tsc_early_khz=2299995 no_timer_check tsc=reliable
    -chardev socket,id=qmp,path=/run/vm/qmp,server=on,wait=off
    -mon chardev=qmp,mode=control
    -chardev socket,id=console,path=/run/vm/console,server=on,wait=off
    -serial chardev:console
    -blockdev driver=file,node-name=image,filename=/run/image,read-only=on
    -device virtio-blk-device,id=image-device,drive=image,serial=image
    -blockdev driver=file,node-name=layer-0,filename=/run/layer-0,read-only=on
    -blockdev driver=file,node-name=disk-0-file,filename=/run/vm/disk-0,discard=unmap,cache.no-flush=on
    -blockdev driver=qcow2,node-name=disk-0,file=disk-0-file,backing=layer-0,discard=unmap,cache.no-flush=on
    -device virtio-blk-device,id=scratch-device,drive=disk-0,serial=scratch
    -device virtio-serial-device,id=ports,max_ports=2
    -chardev socket,id=agent,path=/run/vm/agent,server=on,wait=off
    -device virtserialport,bus=ports.0,nr=1,chardev=agent,name=portico.agent
    -object rng-builtin,id=random
    -device virtio-rng-device,rng=random"
  `)
})

it('prints the whole command line under KVM', () => {
  expect(lines(commandLine({ ...common, accelerator: 'kvm', kvmDescriptor: 4, vcpus: 2 }))).toMatchInlineSnapshot(`
    "-name guest=portico-abc.vmxyz
    -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
    -nodefaults
    -no-user-config
    -display none
    -no-reboot
    -S
    -add-fd fd=4,set=1
    -accel kvm,device=/dev/fdset/1
    -M microvm,x-option-roms=off,isa-serial=on,rtc=on,suppress-vmdesc=on,memory-backend=mem
    -bios qboot.rom
    -cpu host
    -smp cpus=2
    -m size=1024M
    -object memory-backend-file,id=mem,mem-path=/run/memory,size=1024M,share=on
    -kernel /run/kernel
    -initrd /run/initramfs
    -append quiet reboot=t panic=-1 pci=off console=ttyS0
    -chardev socket,id=qmp,path=/run/vm/qmp,server=on,wait=off
    -mon chardev=qmp,mode=control
    -chardev socket,id=console,path=/run/vm/console,server=on,wait=off
    -serial chardev:console
    -blockdev driver=file,node-name=image,filename=/run/image,read-only=on
    -device virtio-blk-device,id=image-device,drive=image,serial=image
    -blockdev driver=file,node-name=layer-0,filename=/run/layer-0,read-only=on
    -blockdev driver=file,node-name=disk-0-file,filename=/run/vm/disk-0,discard=unmap,cache.no-flush=on
    -blockdev driver=qcow2,node-name=disk-0,file=disk-0-file,backing=layer-0,discard=unmap,cache.no-flush=on
    -device virtio-blk-device,id=scratch-device,drive=disk-0,serial=scratch
    -device virtio-serial-device,id=ports,max_ports=2
    -chardev socket,id=agent,path=/run/vm/agent,server=on,wait=off
    -device virtserialport,bus=ports.0,nr=1,chardev=agent,name=portico.agent
    -object rng-builtin,id=random
    -device virtio-rng-device,rng=random"
  `)
})

it('prints what differs for a machine that starts from the state of another', () => {
  const boot = new Set(lines(commandLine({ ...common, accelerator: 'tcg', vcpus: 1 })).split('\n'))
  const layers = ['raw', 'qcow2', 'qcow2'] as const
  const restore = lines(commandLine({ ...common, accelerator: 'tcg', vcpus: 1, start: 'restore', layers })).split('\n')
  expect(restore.filter((line) => !boot.has(line)).join('\n')).toMatchInlineSnapshot(`
    "-incoming defer
    -global migration.send-configuration=off
    -object memory-backend-file,id=mem,mem-path=/run/memory,size=1024M,share=off,readonly=on,rom=off
    -blockdev driver=file,node-name=layer-1-file,filename=/run/layer-1,read-only=on
    -blockdev driver=qcow2,node-name=layer-1,file=layer-1-file,backing=layer-0,read-only=on
    -blockdev driver=file,node-name=layer-2-file,filename=/run/layer-2,read-only=on
    -blockdev driver=qcow2,node-name=layer-2,file=layer-2-file,backing=layer-1,read-only=on
    -blockdev driver=qcow2,node-name=disk-0,file=disk-0-file,backing=layer-2,discard=unmap,cache.no-flush=on"
  `)
})

it('gives every processor a thread under emulation only where there is more than one', () => {
  expect(commandLine({ ...common, accelerator: 'tcg', vcpus: 1 })).toContain('tcg,thread=single,tb-size=128')
  expect(commandLine({ ...common, accelerator: 'tcg', vcpus: 4 })).toContain('tcg,thread=multi,tb-size=128')
})

it('doubles the commas of a value, so that it cannot become another property', () => {
  expect(properties('kind', { path: 'a,b=c', on: true, off: false, none: undefined })).toBe(
    'kind,path=a,,b=c,on=on,off=off',
  )
})
