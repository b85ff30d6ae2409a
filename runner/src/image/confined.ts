/**
 * Jails for the programs that meet what a registry sends. Each sees the host's programs read-only, one folder that it may write, and nothing else of the
 * host: no home, no state of the runner, no other process. Only the one that fetches has the network; only the one that unpacks has the capabilities
 * to give files their owners.
 */

import { lstatSync, readFileSync, readlinkSync } from 'node:fs'

export const workFolder = '/work'
export const authInside = '/auth.json'

/** What Debian's programs need; on a host whose /lib is no link it is a folder of its own. */
const systemFolders = ['/bin', '/sbin', '/lib', '/lib64', '/lib32', '/libx32']
/** Trust, names and addresses of the host: what a fetch needs. */
const networkFiles = [
  '/etc/ssl',
  '/etc/ca-certificates',
  '/etc/pki',
  '/etc/resolv.conf',
  '/etc/hosts',
  '/etc/nsswitch.conf',
  '/etc/containers',
  '/etc/docker/certs.d',
]
const proxyVariables = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'SSL_CERT_FILE',
]

/**
 * What giving files their owners, modes and labels takes, and reading them whoever they belong to; with their numbers. CAP_DAC_READ_SEARCH is none of
 * them: it opens files of the whole disk by number, wherever they are mounted.
 */
const fileCapabilities = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_FSETID: 4,
  CAP_MKNOD: 27,
  CAP_SETFCAP: 31,
} as const

/** Folders that no layer names get their modes from the mask, and a runner's may be strict. */
const usualMask = ['/bin/sh', '-c', 'umask 022 && exec "$@"', 'sh']

export interface ConfinedOptions {
  /** Host folder that becomes `/work`. */
  readonly folder: string
  readonly network?: boolean
  /** Keeps what root may do with files; without root it is what a user may. */
  readonly files?: boolean
  /** Of each file that it writes, and of its memory. */
  readonly limits?: { readonly fileBytes?: number; readonly memoryBytes: number }
  /** Host files by the name that they have inside. */
  readonly readOnly?: Readonly<Record<string, string>>
}

/** Arguments for `bwrap` that run `command` in the jail. */
export function confinedArguments(options: ConfinedOptions, command: readonly string[]): string[] {
  const root = process.getuid?.() === 0
  const { folder, network = false, files = false, readOnly = {}, limits } = options
  return [
    ...['ipc', 'pid', 'uts', 'cgroup-try', ...(network ? [] : ['net']), ...(root ? [] : ['user'])].map(
      (name) => `--unshare-${name}`,
    ),
    ...['--die-with-parent', '--new-session', '--hostname', 'image', '--clearenv'],
    ...['--setenv', 'PATH', '/usr/sbin:/usr/bin:/sbin:/bin', '--setenv', 'HOME', '/tmp', '--setenv', 'LC_ALL', 'C'],
    ...(network ? proxyVariables.flatMap(fromHost) : []),
    ...['--ro-bind', '/usr', '/usr', ...systemFolders.flatMap(systemFolder)],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--dir', '/etc'],
    ...(network ? networkFiles.flatMap((file) => ['--ro-bind-try', file, file]) : []),
    ...Object.entries(readOnly).flatMap(([inside, file]) => ['--ro-bind', file, inside]),
    ...['--bind', folder, workFolder, '--chdir', workFolder, '--cap-drop', 'ALL'],
    ...(files && root ? ownFileCapabilities().flatMap((capability) => ['--cap-add', capability]) : []),
    ...(limits ? limited(limits) : []),
    ...(files ? usualMask : []),
    ...command,
  ]
}

function limited({ fileBytes, memoryBytes }: NonNullable<ConfinedOptions['limits']>): string[] {
  const file = fileBytes === undefined ? [] : [`--fsize=${fileBytes}`]
  return ['prlimit', `--as=${memoryBytes}`, '--core=0', ...file, '--']
}

/** Those that the runner has itself: bwrap refuses to give others. */
function ownFileCapabilities(): string[] {
  const status = readFileSync('/proc/self/status', 'utf8')
  const own = BigInt(`0x${/^CapEff:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  return Object.entries(fileCapabilities).flatMap(([name, bit]) => (((own >> BigInt(bit)) & 1n) === 1n ? [name] : []))
}

/** Whether this runner is root without all that giving files their owners, labels and kinds takes. */
export function lacksFileCapabilities(): boolean {
  return process.getuid?.() === 0 && ownFileCapabilities().length < Object.keys(fileCapabilities).length
}

function fromHost(name: string): string[] {
  const value = process.env[name]
  return value === undefined ? [] : ['--setenv', name, value]
}

function systemFolder(path: string): string[] {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat) return []
  return stat.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path]
}
