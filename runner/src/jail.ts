/**
 * The jail of one QEMU: its own mount, process, network, host name, IPC and cgroup namespaces; the VMM root as a read-only `/`; nothing of the host
 * but the files it was given, read-only, and its own folder. It runs as a user of its own, without capabilities and unable to gain any.
 *
 *   bwrap (root, waits) ──▶ setpriv (drops user and capabilities) ──▶ QEMU (first process of its own process namespace)
 *
 * It does not die with the runner: a machine may outlive the daemon that started it.
 */

import { jailPaths } from './paths.ts'

export interface JailOptions {
  readonly vmmRoot: string
  /** Host folder that becomes the machine's own. */
  readonly vm: string
  /** Host files by the name that they have inside. */
  readonly readOnly: Readonly<Record<string, string>>
  /** Host files that it may write, likewise. */
  readonly writable?: Readonly<Record<string, string>>
  /** User and group number to run as; undefined keeps the runner's. */
  readonly uid: number | undefined
  /** Descriptor on which the process number is reported. */
  readonly infoDescriptor: number
}

export const jailProgram = 'bwrap'

/** Arguments for `bwrap` that run `command` in the jail. */
export function jailArguments(options: JailOptions, command: readonly string[]): string[] {
  const separate = options.uid !== undefined
  return [
    ...['ipc', 'pid', 'net', 'uts', 'cgroup-try', ...(separate ? [] : ['user'])].map((name) => `--unshare-${name}`),
    ...['--as-pid-1', '--new-session', '--info-fd', String(options.infoDescriptor)],
    ...['--hostname', 'vm', '--clearenv', '--setenv', 'PATH', '/usr/bin'],
    ...['--ro-bind', options.vmmRoot, '/', '--dev', '/dev', '--tmpfs', jailPaths.mounts, '--dir', jailPaths.vm],
    ...['--bind', options.vm, jailPaths.vm],
    ...Object.entries(options.readOnly).flatMap(([inside, file]) => ['--ro-bind', file, inside]),
    ...Object.entries(options.writable ?? {}).flatMap(([inside, file]) => ['--bind', file, inside]),
    ...['--remount-ro', jailPaths.mounts, '--chdir', '/', '--cap-drop', 'ALL'],
    ...(options.uid === undefined ? [] : switchUser(options.uid)),
    ...command,
  ]
}

/** The capabilities that setpriv needs to change the user are gone once it has. */
function switchUser(uid: number): string[] {
  return [
    ...['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'].flatMap((capability) => ['--cap-add', capability]),
    ...['/usr/bin/setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups'],
    ...['--no-new-privs', '--bounding-set', '-all', '--inh-caps', '-all', '--'],
  ]
}

/** Arguments for `bwrap` that run a tool of the VMM root on one host folder, as the runner's own user. */
export function toolArguments(vmmRoot: string, folder: string, command: readonly string[]): string[] {
  return [
    ...['--unshare-ipc', '--unshare-pid', '--unshare-net', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--ro-bind', vmmRoot, '/', '--dev', '/dev', '--tmpfs', jailPaths.mounts],
    ...['--bind', folder, jailPaths.vm, '--chdir', jailPaths.vm, ...command],
  ]
}
