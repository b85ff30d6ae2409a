/** Work that a request leaves behind: it goes on after the answer, and nobody waits for it. */

import { waitUntil } from 'cloudflare:workers'
import { logFailure } from '../log.ts'
import { fromPlatform } from '../platform-errors.ts'

/** Keeps the Worker at it until the work is done; what goes wrong is logged. */
export function inBackground(what: string, work: Promise<unknown>): void {
  waitUntil(work.catch((thrown) => logFailure(what, fromPlatform(thrown, what))))
}
