/** The runner of a local platform, ended and started again on its state: what a host does when its runner is upgraded, or is killed. */

import { setTimeout as wait } from 'node:timers/promises'
import type { Platform } from '@portico/deploy/local'

const limitMs = 30_000

/** Ends the only runner by a signal and starts it again; resolves once the front door has seen both. */
export async function restartRunner(platform: Platform, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (signal === 'SIGKILL') await platform.killRunner(0)
  else await platform.stopRunner(0)
  await runnerConnected(platform, 0, false)
  await platform.startRunner(0)
  await runnerConnected(platform, 0)
}

/** Waits until the front door sees a runner as connected, or as gone. */
export async function runnerConnected(platform: Platform, index: number, wanted = true): Promise<void> {
  const limit = AbortSignal.timeout(limitMs)
  const id = platform.fleet[index]?.id
  while ((await platform.admin.runners()).find((runner) => runner.id === id)?.connected !== wanted) {
    await wait(25, undefined, { signal: limit })
  }
}
