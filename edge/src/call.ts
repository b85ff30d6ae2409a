/** What a handler gets: the request behind its row's access rule, its body already read and checked where that is JSON. */

import type { Clock } from '@portico/shared/clock'
import type { RequestLeases } from './account/request-lease.ts'
import type { AuditMail } from './audit/mail.ts'
import type { Gate, RunnerCaller } from './auth/gate.ts'
import type { LinkScope } from './auth/link-tokens.ts'
import type { ShortCache } from './auth/short-cache.ts'
import type { Env } from './env.ts'
import type { RouteCache } from './guest/route-cache.ts'
import type { PortRoutes } from './port/routes.ts'
import type { Caller, Objects, Scope } from './ports.ts'

/** What an isolate keeps between requests. */
export interface Services {
  readonly clock: Clock
  readonly gate: Gate
  readonly requests: RequestLeases
  readonly routes: RouteCache
  readonly ports: PortRoutes
  readonly mail: AuditMail
  /** What each region can boot. */
  readonly images: ShortCache<readonly string[]>
}

export type Access = 'public' | 'key' | 'admin' | 'runner'

/** Who came in, by access rule. */
export interface Principals {
  readonly public: null
  readonly key: Caller
  readonly admin: null
  readonly runner: RunnerCaller
}

/** Who and what a call was about, for its log line. */
export interface Subject {
  account?: string
  region?: string
  sandbox?: string
  runner?: string
}

export interface Call<Who extends Access = Access, Body = unknown> {
  readonly request: Request
  readonly env: Env
  readonly objects: Objects
  readonly services: Services
  readonly requestId: string
  readonly url: URL
  readonly principal: Principals[Who]
  /** The link that the caller came by, in place of a key. */
  readonly link?: LinkScope
  /** What the caller's key may do; null where it came in without one. */
  readonly scope: Scope | null
  /** A part of the path, by its name in the row. */
  parameter(name: string): string
  /** Filled in as it becomes known. */
  readonly subject: Subject
  /** The parsed JSON; undefined where the row takes none. */
  readonly body: Body
}

export type KeyCall = Call<'key'>
