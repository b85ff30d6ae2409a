import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { takeLock } from './lock.ts'

it('lets one runner at a time have a state folder', async () => {
  const name = `portico-test-${randomUUID()}`
  const release = await takeLock(name)
  await expect(takeLock(name)).rejects.toMatchObject({
    code: 'conflict',
    message: 'cannot start the runner: another runner uses this state folder',
  })
  await release()
  await (await takeLock(name))()
})

it('does not hold up other folders', async () => {
  const releases = [await takeLock(`portico-test-${randomUUID()}`), await takeLock(`portico-test-${randomUUID()}`)]
  for (const release of releases) await release()
})
