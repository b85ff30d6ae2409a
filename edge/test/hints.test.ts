/** Where a region's objects are made, and how long a runner may be away: variables of the deployment. */

import { env } from 'cloudflare:workers'
import { newRunnerId, newSandboxId } from '@portico/shared/ids'
import { expect, test } from 'vitest'
import { objectsOf, runnerFetcher } from '../src/durable/objects.ts'
import { type Env, locationHint, unreachableAfterMs } from '../src/env.ts'

const withVariables = (variables: Partial<Env>): Env => ({ ...env, ...variables })

test('a region has the hint that the deployment gives it, if the platform knows that word', () => {
  const hinted = withVariables({ REGION_HINTS: ' us=enam, eu = weur,mars=olympus,none' })
  const regions = ['us', 'eu', 'mars', 'none', 'asia']
  expect(regions.map((region) => locationHint(hinted, region))).toEqual(['enam', 'weur', ...Array(3).fill(undefined)])
  expect(locationHint(env, 'us')).toBeUndefined()
})

type Asked = [namespace: string, options: object | undefined]

/** What a namespace is asked for. */
function noting(asked: Asked[], name: string): DurableObjectNamespace {
  const get = (_id: unknown, options?: object) => {
    asked.push([name, options])
    return {}
  }
  return { idFromName: (id: string) => id, get } as unknown as DurableObjectNamespace
}

test('the first calls of a region, a sandbox and a runner carry it, those of an account never do', () => {
  const asked: Asked[] = []
  const names = ['ACCOUNTS', 'SANDBOXES', 'RUNNERS', 'REGIONS'] as const
  const spaces = Object.fromEntries(names.map((name) => [name, noting(asked, name)]))
  const hinted = withVariables({ REGION_HINTS: 'eu=weur', ...spaces })
  const objects = objectsOf(hinted)
  objects.region('eu')
  objects.sandbox('s', 'eu')
  objects.sandbox('s', 'us')
  objects.sandbox('s')
  objects.account('a')
  runnerFetcher(hinted, 'r', 'eu')
  const hint = { locationHint: 'weur' }
  expect(asked.filter(([, options]) => Object.keys(options ?? {}).length > 0)).toEqual([
    ['REGIONS', hint],
    ['SANDBOXES', hint],
    ['RUNNERS', hint],
  ])
})

test('the platform takes them', async () => {
  const objects = objectsOf(withVariables({ REGION_HINTS: 'eu=weur' }))
  expect(await objects.region('eu').runner(newRunnerId())).toBeNull()
  expect(await objects.sandbox(newSandboxId(), 'eu').claims('r', 1)).toBe(false)
})

test('a runner may be away for 30 s unless the deployment says otherwise', () => {
  const after = (text: string) => unreachableAfterMs(withVariables({ UNREACHABLE_AFTER_SECONDS: text }))
  expect([unreachableAfterMs(env), after('2'), after('0.5')]).toEqual([30_000, 2000, 500])
  for (const nonsense of ['', '0', '-1', 'soon', '1e9']) expect(after(nonsense)).toBe(30_000)
})
