/** `portico runners drain ID`: begins a drain and follows it until nothing runs there any more. Ended early, the drain itself goes on. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { DrainMode, PorticoAdmin, RunnerInfo } from '@portico/sdk/admin'
import { CommandError } from '../command-error.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'

export interface DrainOptions {
  readonly mode: DrainMode
  readonly wait: boolean
  readonly json?: boolean
}

/** How often it is looked at. */
const everyMs = 500

export async function drain(session: Session, id: string, { mode, wait, json }: DrainOptions): Promise<void> {
  using admin = await session.connectAdmin()
  const begin = performance.now()
  let runner = await admin.runners.drain(id, mode, { signal: session.signal })
  if (wait) {
    runner = await follow(session, admin, runner)
    await session.progress.done(`drained in ${elapsed(performance.now() - begin)}; ${slept(runner)}`)
  }
  if (json) await session.terminal.printJson(runner)
  else await session.terminal.print(`${id}\n`)
}

/** Looks again and again until it is done. */
async function follow(session: Session, admin: PorticoAdmin, begun: RunnerInfo): Promise<RunnerInfo> {
  const { signal } = session
  let shown = ''
  for (let runner = begun; ; runner = await admin.runners.get(begun.id, { signal })) {
    if (runner.drain === null)
      throw new CommandError(
        `cannot drain runner ${begun.id}: the drain was taken back`,
        'Somebody has undrained it meanwhile.',
      )
    if (runner.drain.done) return runner
    const text = `draining ${begun.id}: ${runner.drain.running} still run, ${slept(runner)}`
    if (text !== shown) await session.progress.begin(text)
    shown = text
    await pause(signal)
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await sleep(everyMs, undefined, { signal }).catch(() => undefined)
  signal.throwIfAborted()
}

function slept({ drain: progress }: RunnerInfo): string {
  return `${progress?.hibernated ?? 0} hibernated`
}
