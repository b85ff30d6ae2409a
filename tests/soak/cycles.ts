/** One sandbox, hibernated and resumed again and again; every hash of its memory and its files is checked each time. */

import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { newSandboxId } from '@portico/shared/ids'
import { firstExec, timed, withEngine } from '../bench/sandboxes.ts'
import { engineGuest } from './engine-guest.ts'
import { check, startKeeper, turn } from './keeper.ts'
import type { SoakSize } from './size.ts'

/** One entry per cycle. */
export interface Cycled {
  readonly hibernateMs: readonly number[]
  /** Until the first command has answered. */
  readonly resumeMs: readonly number[]
  /** What the hibernated sandbox takes on disk; a file with several names counts once. */
  readonly bytes: readonly number[]
}

export function cycle(size: SoakSize, say: (text: string) => void): Promise<Cycled> {
  return withEngine(async (engine, stateDir) => {
    const id = newSandboxId()
    await engine.create(id, 1, size.spec)
    const guest = engineGuest(engine, id)
    await startKeeper(guest, size.keeper)
    const found = { hibernateMs: [] as number[], resumeMs: [] as number[], bytes: [] as number[] }
    for (let n = 1; n <= size.cycles; n++) {
      const kept = await turn(guest)
      found.hibernateMs.push(await timed(() => engine.hibernate(id, 1)))
      found.bytes.push(await bytesOf(join(stateDir, 'sandboxes', id)))
      const wake = async () => {
        await engine.resume(id, 1)
        await firstExec(engine, id)
      }
      found.resumeMs.push(await timed(wake))
      await check(guest, kept, `after hibernation ${n}`)
      say(`cycle ${n}/${size.cycles}: resumed in ${Math.round(found.resumeMs.at(-1) ?? 0)} ms`)
    }
    await engine.destroy(id, 1)
    return found
  })
}

async function bytesOf(folder: string): Promise<number> {
  const sizes = new Map<number, number>()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const { ino, blocks } = await lstat(join(entry.parentPath, entry.name))
    sizes.set(ino, blocks * 512)
  }
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
}
