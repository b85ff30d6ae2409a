/** The host's side of `keeper.py`, a process in a guest whose memory and files can be checked for a single wrong byte. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A sandbox as these tests need it. */
export interface Guest {
  /** Runs a shell command; answers what it printed. Throws when it does not exit with 0. */
  run(shell: string): Promise<string>
  put(path: string, content: Uint8Array): Promise<void>
}

export interface KeeperSize {
  readonly memoryMib: number
  readonly files: number
}

/** What a keeper holds: how often it changed it, and one hash of all its memory and one of all its files. */
export interface Kept {
  readonly turns: number
  readonly head: string
  readonly tree: string
}

const place = '/root/keeper.py'

/** Starts one; resolves when it holds all of it. */
export async function startKeeper(guest: Guest, { memoryMib, files }: KeeperSize): Promise<void> {
  await guest.put(place, await readFile(join(import.meta.dirname, 'keeper.py')))
  const start = `setsid python3 ${place} ${memoryMib} ${files} </dev/null >/tmp/keeper.log 2>&1 & keeper=$!`
  const wait =
    'until [ -p /tmp/keeper.ask ]; do kill -0 $keeper || { cat /tmp/keeper.log >&2; exit 1; }; sleep 0.1; done'
  await guest.run(`${start}\n${wait}`)
}

/** Changes a little of everything. */
export function turn(guest: Guest): Promise<Kept> {
  return ask(guest, 'turn')
}

/** Checks every hash in the guest; throws when one does not hold, or when it is not what `expected` says. */
export async function check(guest: Guest, expected: Kept, when: string): Promise<void> {
  const found = await ask(guest, 'check').catch((cause: unknown) => {
    throw new Error(`cannot keep a sandbox's state: ${when}: ${cause instanceof Error ? cause.message : String(cause)}`)
  })
  for (const part of ['turns', 'head', 'tree'] as const) {
    if (found[part] === expected[part]) continue
    throw new Error(`cannot keep a sandbox's state: ${when}: ${part} is ${found[part]} and was ${expected[part]}`)
  }
}

async function ask(guest: Guest, word: 'turn' | 'check'): Promise<Kept> {
  const said = await guest.run(`echo ${word} > /tmp/keeper.ask && cat /tmp/keeper.answer`)
  const { wrong, ...kept } = JSON.parse(said) as Kept & { wrong: string | null }
  if (wrong !== null) throw new Error(`a hash does not hold: ${wrong}`)
  return kept
}
