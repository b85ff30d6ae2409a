import { expect, it } from 'vitest'
import { type JailOptions, jailArguments } from './jail.ts'

const options: JailOptions = {
  vmmRoot: '/vmm',
  vm: '/state/vms/x/vm',
  readOnly: { '/run/kernel': '/cache/vmlinuz', '/run/image': '/cache/python.erofs' },
  writable: { '/run/memory': '/state/vms/x/base' },
  uid: 4711,
  infoDescriptor: 3,
}

it('prints the whole jail', () => {
  const text = jailArguments(options, ['/usr/bin/qemu', '-S'])
    .join(' ')
    .replaceAll(' --', '\n--')
    .replace(' /usr/bin/setpriv', '\n/usr/bin/setpriv')
  expect(text).toMatchInlineSnapshot(`
    "--unshare-ipc
    --unshare-pid
    --unshare-net
    --unshare-uts
    --unshare-cgroup-try
    --as-pid-1
    --new-session
    --info-fd 3
    --hostname vm
    --clearenv
    --setenv PATH /usr/bin
    --ro-bind /vmm /
    --dev /dev
    --tmpfs /run
    --dir /run/vm
    --bind /state/vms/x/vm /run/vm
    --ro-bind /cache/vmlinuz /run/kernel
    --ro-bind /cache/python.erofs /run/image
    --bind /state/vms/x/base /run/memory
    --remount-ro /run
    --chdir /
    --cap-drop ALL
    --cap-add CAP_SETUID
    --cap-add CAP_SETGID
    --cap-add CAP_SETPCAP
    /usr/bin/setpriv
    --reuid 4711
    --regid 4711
    --clear-groups
    --no-new-privs
    --bounding-set -all
    --inh-caps -all
    -- /usr/bin/qemu -S"
  `)
})

it('lets a machine outlive the runner', () => {
  expect(jailArguments(options, [])).not.toContain('--die-with-parent')
})

it('stays the same user only when told so, and then in a user namespace without any capability', () => {
  const args = jailArguments({ ...options, uid: undefined }, ['/usr/bin/qemu'])
  expect(args).toContain('--unshare-user')
  expect(args).not.toContain('--cap-add')
  expect(args.join(' ')).not.toContain('setpriv')
})
