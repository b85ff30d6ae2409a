/** What is done to a machine that is nobody's yet, so that it need not be done by those who take it. */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { giveIdentity } from '../guest/agent.ts'
import type { BootedVm } from '../sandbox/phases.ts'

export interface PrimeOptions {
  readonly clock: Clock
  /** How often. Once reads what it takes into the guest's memory; emulation has translated the whole way only after some more. */
  readonly rounds: number
  readonly signal: AbortSignal
}

/** Does what every taker does at first: an identity, which the taker's replaces, and a command of the kind that users run, which is a shell that starts a program. The disk has its size then. */
export async function prime({ channel }: BootedVm, { clock, rounds, signal }: PrimeOptions): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    // A name of its own each time: the guest does less for one that it has already.
    await giveIdentity(channel, { sandbox: `${provisionalName}-${round}`, env: {} }, clock, signal)
    await runNothing(channel, signal)
  }
}

async function runNothing(channel: BootedVm['channel'], signal: AbortSignal): Promise<void> {
  const body = Buffer.from(JSON.stringify({ shell: '/bin/true; true', timeout_ms: primeLimitMs }))
  const headers = { 'content-type': 'application/json' }
  const response = await channel.request({ method: 'POST', path: '/exec', headers, body, signal })
  let bytes = 0
  for await (const chunk of response.body) {
    bytes += chunk.length
    if (bytes > maxAnswer) throw new AppError('guest_error', "cannot use the machine: its agent's answer is too long")
  }
  if (response.status !== 200) throw new AppError('guest_error', 'cannot use the machine: it does not run a command')
}

const provisionalName = 'pool'
export const primeLimitMs = 15_000
const maxAnswer = 64 * 1024
