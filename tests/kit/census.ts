/**
 * What the platform could leave behind on a host: processes, sockets, mounts, network devices, files. Counted before and after, as names, so that a
 * failed test shows what is left.
 */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { home } from '@portico/deploy/checkout'

export interface Census {
  readonly processes: readonly string[]
  readonly sockets: readonly string[]
  readonly mounts: readonly string[]
  readonly links: readonly string[]
  readonly files: readonly string[]
}

/** Counts what is there now. Processes and sockets count when they are of the kinds that the platform starts. */
export async function census(): Promise<Census> {
  return {
    processes: await processes(),
    sockets: (await lines('/proc/net/unix'))
      .map((line) => line.trim().split(/\s+/)[7] ?? '')
      .filter((path) => path.includes('.portico') || path.includes('portico')),
    mounts: (await lines('/proc/self/mountinfo')).map((line) => line.split(' ')[4] ?? ''),
    links: (await readdir('/sys/class/net')).sort(),
    files: [
      ...(await names(join(home, 'tmp'))),
      ...(await names('/tmp')).filter((name) => name.includes('portico')),
    ].sort(),
  }
}

/** What is in `after` and not in `before`. */
export function left(before: Census, after: Census): Partial<Census> {
  const entries = Object.entries(after).map(([kind, list]: [string, readonly string[]]) => {
    const old = new Set(before[kind as keyof Census])
    return [kind, list.filter((name) => !old.has(name))] as const
  })
  return Object.fromEntries(entries.filter(([, list]) => list.length > 0))
}

/** Programs that the platform starts; they are ours if a word of their command line says so. */
const kinds = /^(qemu-system|qemu-img|bwrap|workerd|setpriv)/

async function processes(): Promise<string[]> {
  const found: string[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const name = words[0]?.split('/').pop() ?? ''
    const isOurs = words.some((word) => word.includes(home) || word.includes('portico-'))
    const isKnown = kinds.test(name) || words.some((word) => word.endsWith('/runner/src/main.ts'))
    if (isOurs && isKnown) found.push(`${pid} ${words.slice(0, 6).join(' ')}`)
  }
  return found.sort()
}

async function lines(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8')).split('\n').slice(0, -1)
}

async function names(directory: string): Promise<string[]> {
  return await readdir(directory).catch(() => [])
}
