/**
 * What `/proc` says of one process. The root is a parameter, so that a folder of text files tests it. A pid is used again sooner or later: a
 * process is known by its pid and its start time together.
 */

import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

/** A process that can be told from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks after the host's boot. */
  readonly startTicks: number
}

export interface ProcessStat extends ProcessIdentity {
  readonly state: string
  readonly parent: number
  /** User and system time of all its threads, those that have ended among them. */
  readonly cpuMs: number
}

export interface ProcessMemory {
  /** Its share: a page that several processes map counts in parts (PSS). */
  readonly currentBytes: number
  /** The most that it had mapped at once, shared pages in whole. */
  readonly peakBytes: number
}

/** Linux shows times to programs in hundredths of a second, whatever the kernel's own tick is. */
const msPerTick = 10

export class Proc {
  readonly #root: string

  constructor(root = '/proc') {
    this.#root = root
  }

  /** Undefined if there is no such process (any more). */
  async stat(pid: number): Promise<ProcessStat | undefined> {
    const text = await this.#read(pid, 'stat')
    return text === undefined ? undefined : parseStat(text)
  }

  async memory(pid: number): Promise<ProcessMemory | undefined> {
    const [share, status] = await Promise.all([this.#read(pid, 'smaps_rollup'), this.#read(pid, 'status')])
    return share === undefined || status === undefined ? undefined : parseMemory(share, status)
  }

  /** The arguments as the process was started with; empty for a kernel thread or a zombie. */
  async commandLine(pid: number): Promise<readonly string[]> {
    const text = (await this.#read(pid, 'cmdline')) ?? ''
    return text === '' ? [] : text.replace(/\0$/, '').split('\0')
  }

  /** Numbers of all processes. */
  async list(): Promise<number[]> {
    const names = await readdir(this.#root)
    return names.filter((name) => /^[1-9][0-9]*$/.test(name)).map(Number)
  }

  /** Whether exactly this process still runs. A zombie does not. */
  async runs(identity: ProcessIdentity): Promise<boolean> {
    const now = await this.stat(identity.pid)
    return now !== undefined && now.startTicks === identity.startTicks && now.state !== 'Z' && now.state !== 'X'
  }

  /** Differs after every boot of the host. */
  async bootId(): Promise<string> {
    return (await readFile(join(this.#root, 'sys/kernel/random/boot_id'), 'utf8')).trim()
  }

  /** Where a link of the process leads, such as `exe`. */
  async link(pid: number, name: string): Promise<string | undefined> {
    return await readlink(join(this.#root, String(pid), name)).catch(() => undefined)
  }

  async #read(pid: number, name: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.#root, String(pid), name), 'utf8')
    } catch {
      return undefined
    }
  }
}

/** The fields of `stat`. The name in parentheses may itself hold spaces and parentheses, so the fields are counted from its end. */
export function parseStat(text: string): ProcessStat | undefined {
  const pid = Number.parseInt(text, 10)
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parent] = fields
  const [user, system, startTicks] = [fields[11], fields[12], fields[19]].map(Number)
  if (state === undefined || user === undefined || system === undefined || !Number.isInteger(startTicks))
    return undefined
  return { pid, state, parent: Number(parent), startTicks: startTicks ?? 0, cpuMs: (user + system) * msPerTick }
}

function parseMemory(share: string, status: string): ProcessMemory | undefined {
  const current = /^Pss:\s+(\d+) kB$/m.exec(share)?.[1]
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]
  if (current === undefined || peak === undefined) return undefined
  return { currentBytes: Number(current) * 1024, peakBytes: Number(peak) * 1024 }
}
