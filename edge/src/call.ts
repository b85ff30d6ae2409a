/** What a handler gets: the request behind its row's access rule, its body already read and checked where that is JSON. */

import type { Clock } from '@portico/shared/clock'
import type { RunnerPolicy } from '@portico/shared/control'
import type { RequestLeases } from './account/request-lease.ts'
import type { AuditMail } from './audit/mail.ts'
import type { Gate, RunnerCaller } from './auth/gate.ts'
import type { LinkScope } from './auth/link-tokens.ts'
import type { ShortCache } from './auth/short-cache.ts'
import type { Env } from './env.ts'
import type { RouteCache } from './guest/route-cache.ts'
import type { TokenGate } from './iris/token-gate.ts'
import type { TokenKeys } from './iris/token-keys.ts'
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
  /** What each region's runners let callers boot; null where none of them says. */
  readonly policies: ShortCache<RunnerPolicy | null>
  /** The public halves of the keys that sign data-plane tokens, and who comes in by such a token. */
  readonly tokenKeys: TokenKeys
  readonly tokens: TokenGate
}

/** `sandbox-token` is a data-plane token, on the host of its sandbox alone. */
export type Access = 'public' | 'key' | 'admin' | 'runner' | 'sandbox-token'

/** Who came in, by access rule. */
export interface Principals {
  readonly public: null
  readonly key: Caller
  readonly admin: null
  readonly runner: RunnerCaller
  readonly 'sandbox-token': Caller
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
  /** The caller's `traceparent`, where it did not come as a header of the request. */
  readonly traceparent?: string
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

/** With a key, or with a token of the sandbox: what both may do asks for no more than their caller. */
export type KeyCall = SandboxCall

/** A call about one sandbox by whoever may make it: with a key, or any other access whose principal is a `Caller`. */
export type SandboxCall<Body = unknown> = Call<'key' | 'sandbox-token', Body>
