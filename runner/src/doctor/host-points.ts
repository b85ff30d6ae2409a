/** What the host itself must have. The roots are parameters, so that folders test it. */

import { access, constants, readFile, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { bad, good, type Point } from './point.ts'

export interface HostOptions {
  /** Folders in which programs are looked for. */
  readonly path: readonly string[]
  readonly procRoot: string
  readonly sysRoot: string
  readonly stateDir: string
  readonly uid: number | undefined
  readonly nodeVersion: string
}

interface Program {
  readonly name: string
  readonly debianPackage: string
  /** What needs it, where a runner as such does not. */
  readonly neededBy?: 'set-up' | 'images from registries'
}

const programs: readonly Program[] = [
  { name: 'bwrap', debianPackage: 'bubblewrap' },
  { name: 'mkfs.ext4', debianPackage: 'e2fsprogs' },
  { name: 'mmdebstrap', debianPackage: 'mmdebstrap', neededBy: 'set-up' },
  { name: 'mkfs.erofs', debianPackage: 'erofs-utils', neededBy: 'set-up' },
  { name: 'xz', debianPackage: 'xz-utils', neededBy: 'set-up' },
  { name: 'skopeo', debianPackage: 'skopeo', neededBy: 'images from registries' },
  { name: 'umoci', debianPackage: 'umoci', neededBy: 'images from registries' },
]

const oldestNode = 22
const leastDiskBytes = 2 * 2 ** 30
const leastMemoryMib = 2048

export async function hostPoints(options: HostOptions): Promise<Point[]> {
  return [
    nodePoint(options.nodeVersion),
    userPoint(options.uid),
    ...(await Promise.all(programs.map((program) => programPoint(program, options.path)))),
    await namespacesPoint(options.procRoot),
    await seccompPoint(options.procRoot),
    await cgroupPoint(options.sysRoot),
    await memoryPoint(options.procRoot),
    await diskPoint(options.stateDir),
  ]
}

function nodePoint(version: string): Point {
  const major = Number.parseInt(version.replace(/^v/, ''), 10)
  if (major >= oldestNode) return good('node', version)
  return bad('node', `${version} is too old`, `Run the runner with Node ${oldestNode} or newer; set-up installs one.`)
}

function userPoint(uid: number | undefined): Point {
  if (uid === 0) return good('root', 'each machine gets a user of its own')
  return bad('root', 'not running as root', 'Run the runner as root, or set vmUser to "same" for development.')
}

async function programPoint({ name, debianPackage, neededBy }: Program, path: readonly string[]): Promise<Point> {
  const required = neededBy === undefined
  for (const folder of path) {
    const file = join(folder, name)
    if (await exists(file, constants.X_OK))
      return good(name, `found${required ? '' : `, used by ${neededBy}`}`, required)
  }
  const detail = required ? 'not installed' : `not installed; needed by ${neededBy}`
  return bad(name, detail, `apt-get install ${debianPackage}`, required)
}

async function namespacesPoint(procRoot: string): Promise<Point> {
  const kinds = ['pid', 'mnt', 'net', 'ipc', 'uts']
  const found = await Promise.all(kinds.map((kind) => exists(join(procRoot, 'self/ns', kind))))
  const missing = kinds.filter((_, index) => !found[index])
  if (missing.length === 0) return good('namespaces', kinds.join(', '))
  return bad('namespaces', `the kernel lacks: ${missing.join(', ')}`, 'Use a kernel with namespaces (any of Debian).')
}

async function seccompPoint(procRoot: string): Promise<Point> {
  const status = await readText(join(procRoot, 'self/status'))
  if (/^Seccomp:/m.test(status)) return good('seccomp', 'the kernel filters system calls')
  return bad('seccomp', 'the kernel cannot filter system calls', 'Use a kernel with CONFIG_SECCOMP_FILTER.')
}

async function cgroupPoint(sysRoot: string): Promise<Point> {
  const controllers = await readText(join(sysRoot, 'fs/cgroup/cgroup.controllers'))
  if (controllers !== '') return good('cgroups', `version 2: ${controllers.trim()}`, false)
  const old = await exists(join(sysRoot, 'fs/cgroup/memory'))
  const detail = old ? 'version 1' : 'none are mounted'
  return bad('cgroups', detail, 'Boot with systemd.unified_cgroup_hierarchy=1 to use version 2.', false)
}

async function memoryPoint(procRoot: string): Promise<Point> {
  const text = await readText(join(procRoot, 'meminfo'))
  const mib = Math.floor(Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024)
  if (mib >= leastMemoryMib) return good('memory', `${mib} MiB available`)
  return bad('memory', `${mib} MiB available`, `Free memory: a few sandboxes take ${leastMemoryMib} MiB.`, false)
}

async function diskPoint(stateDir: string): Promise<Point> {
  const free = await freeBytes(stateDir)
  const shown = `${(free / 2 ** 30).toFixed(1)} GiB free for the state folder`
  if (free >= leastDiskBytes) return good('disk', shown)
  return bad('disk', shown, 'Free disk space, or put the state folder elsewhere (PORTICO_HOME).')
}

/** Of the folder, or of the nearest one above it that exists. */
async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch {
    return dirname(folder) === folder ? 0 : await freeBytes(dirname(folder))
  }
}

async function exists(file: string, mode: number = constants.F_OK): Promise<boolean> {
  return await access(file, mode).then(
    () => true,
    () => false,
  )
}

async function readText(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch(() => '')
}
