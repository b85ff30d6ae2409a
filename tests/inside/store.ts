/**
 * Batches of 1,000 operations while what holds the store is killed: workerd by a signal, or the object where it stands. Batch n sets 500 keys named after n
 * and deletes the 500 of batch n-1, so that what is there afterwards tells of which batches all, some or nothing was done.
 */

import { setTimeout as wait } from 'node:timers/promises'
import { atMost as lanes } from '../kit/at-most.ts'
import { type InsideClient, Refused } from '../kit/inside-client.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { exactly, type Finding, type Proof, told, withSandbox } from './proof.ts'

const half = 500
/** Makes a batch 2 MB, so that the end of its object finds it at every step of the way. */
const text = 'portico '.repeat(500)
const rounds = { killed: 24, evicted: 40 } as const

export const store: readonly Proof[] = [
  {
    name: 'store.killed',
    run: (scene) => withSandbox(scene, { image: 'python' }, (client) => ended(scene.test, client, 'killed')),
  },
  {
    name: 'store.evicted',
    run: (scene) => withSandbox(scene, { image: 'python' }, (client) => ended(scene.test, client, 'evicted')),
  },
]

type How = keyof typeof rounds

async function ended(test: TestPlatform, client: InsideClient, how: How): Promise<Finding[]> {
  const counts = { acknowledged: 0, unanswered: 0, doneUnanswered: 0, partial: 0, lost: 0 }
  await client.store.batch(operations(0))
  let there = 0
  const typical = await timed(() => client.store.batch(operations(++there)))
  for (let round = 0; round < rounds[how]; round++) {
    // From before the batch arrives until after its answer, evenly.
    const delay = (typical * 2.5 * round) / rounds[how]
    const asked = there + 1
    const batch = client.store.batch(operations(asked), AbortSignal.timeout(30_000)).then(
      () => true,
      (error: unknown) => {
        // A refusal by something other than the end of it would be a finding of another kind.
        if (error instanceof Refused && error.status < 500) throw error
        return false
      },
    )
    await wait(delay)
    await end(test, client.id, how)
    const acknowledged = await batch
    const found = await look(client)
    counts[acknowledged ? 'acknowledged' : 'unanswered']++
    if (found === undefined || (found !== asked && found !== there)) counts.partial++
    else if (acknowledged && found !== asked) counts.lost++
    else if (!acknowledged && found === asked) counts.doneUnanswered++
    there = found ?? asked
    if (found === undefined) await client.store.batch(operations(asked))
  }
  return [
    told(
      'batches of 1,000 operations',
      `${rounds[how]}: ${counts.acknowledged} acknowledged, ${counts.unanswered} not, ${counts.doneUnanswered} of these done`,
    ),
    exactly('done in part', counts.partial, 0),
    exactly('acknowledged and lost', counts.lost, 0),
    told('a batch takes', `${Math.round(typical)} ms`),
  ]
}

function operations(batch: number): Parameters<InsideClient['store']['batch']>[0] {
  const indices = Array.from({ length: half }, (_, index) => index)
  return [
    ...indices.map((index) => ({ op: 'set' as const, key: `batch-${batch}/${index}`, value: { batch, index, text } })),
    ...indices.map((index) => ({ op: 'delete' as const, key: `batch-${batch - 1}/${index}` })),
  ]
}

/** The batch that is there as a whole, with nothing beside it; undefined where there is none such. */
async function look(client: InsideClient): Promise<number | undefined> {
  const { keys } = await client.store.list('limit=1000')
  const batch = Number(/^batch-(\d+)\//.exec(keys[0] ?? '')?.[1])
  const wanted = new Set(Array.from({ length: half }, (_, index) => `batch-${batch}/${index}`))
  if (keys.length !== half || !keys.every((key) => wanted.has(key))) return undefined
  const values = await lanes(
    8,
    keys.filter((_, index) => index % 25 === 0),
    (key) => client.store.get(key),
  )
  return values.every(({ value }) => (value as { batch: number }).batch === batch) ? batch : undefined
}

async function end(test: TestPlatform, id: string, how: How): Promise<void> {
  if (how === 'evicted') {
    const headers = { authorization: `Bearer ${test.platform.adminKey}` }
    const { status } = await fetch(`${test.platform.url}/chaos/evict/SANDBOXES/${id}`, { method: 'POST', headers })
    if (status !== 200) throw new Error(`cannot evict the object: ${status}`)
    return
  }
  await test.platform.killFrontDoor()
  await test.platform.restartFrontDoor()
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}
