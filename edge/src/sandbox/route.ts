/** Where a sandbox's calls go. */

import type { Route } from '../ports.ts'
import { assertAllowed } from './allowed.ts'
import { captureFence } from './fence.ts'
import { notFound } from './life.ts'
import type { SandboxRecord } from './record.ts'

/** The route of a sandbox that may be used now, or that its use wakes. */
export function routeOf(record: SandboxRecord): Route {
  assertAllowed(record, 'use', 'use the sandbox')
  const fence = captureFence(record)
  if (fence === undefined) throw notFound()
  return { account: record.account, region: record.region, ...fence }
}
