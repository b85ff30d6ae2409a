import { freemem } from 'node:os'
import { newSandboxId } from '@portico/shared/ids'
import { expect, it } from 'vitest'
import { withEngine } from '../bench/sandboxes.ts'
import { engineGuest } from './engine-guest.ts'
import { short } from './size.ts'

const draw = [
  'head -c 32 /dev/urandom | od -An -vtx1 | tr -d " \\n"; echo',
  'cat /proc/sys/kernel/random/uuid',
  'python3 -c "import os; print(os.urandom(32).hex())"',
  'hostname',
  'date +%s.%N',
].join('; ')

interface Drawn {
  readonly values: readonly string[]
  /** Seconds by which its clock is off, as far as can be told from outside. */
  readonly off: number
}

/** How much each takes when it has changed little, with QEMU's own. */
const eachMib = 400

it('gives no two forks the same randomness or name, and each the time', async () => {
  const count = freemem() / 2 ** 20 > 22 * eachMib ? 20 : 10
  await withEngine(async (engine) => {
    const parent = newSandboxId()
    await engine.create(parent, 1, short.spec)
    const look = async (id: string): Promise<Drawn> => {
      const before = Date.now() / 1000
      const lines = (await engineGuest(engine, id).run(draw)).trim().split('\n')
      const after = Date.now() / 1000
      const clock = Number(lines.pop())
      return { values: lines, off: Math.max(before - clock, clock - after, 0) }
    }
    // The parent has used its randomness, so a child without fresh entropy would go on where it was.
    await look(parent)
    const asked = Array.from({ length: count }, () => ({ sandbox: newSandboxId(), generation: 1 }))
    const { children } = await engine.fork(parent, 1, asked)
    expect(children.filter(({ error }) => error !== undefined)).toEqual([])

    const found = await Promise.all([parent, ...asked.map(({ sandbox }) => sandbox)].map(look))
    for (const each of found) {
      expect(each.values).toHaveLength(4)
      expect(each.off).toBeLessThan(1)
    }
    const all = found.flatMap(({ values }) => values)
    expect(new Set(all).size).toBe(all.length)
  })
}, 240_000)
