/** Where a sandbox's calls go. */

import type { Caller, Route } from '../ports.ts'
import { assertAllowed } from './allowed.ts'
import { captureFence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import type { SandboxRecord } from './record.ts'
import { admitAwake } from './room.ts'

/** The caller's way to the sandbox, once there is room for one that its use wakes. */
export async function routeTo(life: Life, caller: Caller): Promise<Route> {
  const record = life.usable(caller)
  const route = routeOf(record)
  await admitAwake(life, record, 'use the sandbox')
  return life.known === record ? route : routeOf(life.usable(caller))
}

/** The route of a sandbox that may be used now, or that its use wakes. */
export function routeOf(record: SandboxRecord): Route {
  assertAllowed(record, 'use', 'use the sandbox')
  const fence = captureFence(record)
  if (fence === undefined) throw notFound()
  return { account: record.account, region: record.region, ...fence }
}
