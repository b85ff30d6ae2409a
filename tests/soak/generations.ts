/** A chain of forks of forks. Each child has all that its parent had at the moment of the fork, and what it changes then is its own. */

import { newSandboxId } from '@portico/shared/ids'
import { withEngine } from '../bench/sandboxes.ts'
import { engineGuest } from './engine-guest.ts'
import { check, startKeeper, turn } from './keeper.ts'
import type { SoakSize } from './size.ts'

/** Answers how long each parent stood still, in ms. */
export function forkForks(size: SoakSize, say: (text: string) => void): Promise<number[]> {
  return withEngine(async (engine) => {
    let parent: string = newSandboxId()
    await engine.create(parent, 1, size.spec)
    await startKeeper(engineGuest(engine, parent), size.keeper)
    const pauses: number[] = []
    for (let n = 1; n <= size.forks; n++) {
      const child: string = newSandboxId()
      const kept = await turn(engineGuest(engine, parent))
      const forked = await engine.fork(parent, 1, [{ sandbox: child, generation: 1 }])
      const error = forked.children[0]?.error
      if (error !== undefined) throw new Error(`cannot fork generation ${n}: ${error.message}`)
      await check(engineGuest(engine, child), kept, `child of generation ${n}`)
      await turn(engineGuest(engine, child))
      await check(engineGuest(engine, parent), kept, `parent of generation ${n}, after its child went on`)
      await engine.destroy(parent, 1)
      pauses.push(forked.pauseMs)
      say(`fork ${n}/${size.forks}: stood still for ${Math.round(forked.pauseMs)} ms`)
      parent = child
    }
    await engine.destroy(parent, 1)
    return pauses
  })
}
