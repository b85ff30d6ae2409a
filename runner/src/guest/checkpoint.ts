/** What a checkpoint asks of an agent: to hold the disk still for a moment, and which services there are. */

import { deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { type Agent, ask, askIfKnown, json } from './agent.ts'
import { maxServicesBody } from './limits.ts'

/** A service as the agent told it: its definition is the agent's own matter, and given back to it as it is. */
export const serviceState = z.looseObject({ name: z.string().max(128), running: z.boolean() })
export type ServiceState = z.infer<typeof serviceState>

const servicesState = z.object({ services: z.array(serviceState).max(4096) })
const servicesRestored = z.object({ started: z.array(z.string()), failed: z.array(z.string()) })
export type ServicesRestored = z.infer<typeof servicesRestored>

const frozen = z.object({ flushed_ms: z.number() })
const thawed = z.object({ frozen_ms: z.number(), expired: z.boolean() })

/** Longer than the moment takes on a very busy host; the agent lets go by itself then. */
const frozenLimitMs = 5000
/** Everything that programs wrote and did not flush goes to a disk that may be slow. */
const flushLimitMs = 60_000
/** The rest of a boot, under emulation on a busy host. */
const mountLimitMs = 45_000
const servicesLimitMs = 10_000
/** Services start one after the other, each as soon as those that it needs are ready. */
const startLimitMs = 240_000

/** Runs `moment` while the guest's disk is frozen; resolves with how long that was, in milliseconds. Rejects if it did not stay frozen for all of it. */
export async function whileFrozen(agent: Agent, moment: () => Promise<void>, caller: AbortSignal): Promise<number> {
  {
    using signal = deadline(flushLimitMs, "write out the sandbox's disk", caller)
    const asked = { method: 'POST', path: '/disk/freeze', ...json({ limit_ms: frozenLimitMs }), signal } as const
    await ask(agent, asked, frozen)
  }
  const happened = await Promise.allSettled([moment()])
  // Not the caller's signal: it has to be let go in any case.
  using signal = deadline(frozenLimitMs, "let the sandbox's disk go on")
  const told = await ask(agent, { method: 'POST', path: '/disk/thaw', ...json({}), signal }, thawed)
  if (happened[0].status === 'rejected') throw happened[0].reason
  if (told.expired)
    throw new AppError('deadline', 'cannot keep the disk: its writers could not be held still for as long as it took')
  return told.frozen_ms
}

/** Lets a machine that waits for its disks take them; resolves when it is like any other. */
export async function mountDisks(agent: Agent, caller: AbortSignal): Promise<void> {
  using signal = deadline(mountLimitMs, "mount the sandbox's disk", caller)
  await ask(agent, { method: 'POST', path: '/disk/mount', ...json({}), signal }, z.object({}))
}

/** The services of the sandbox; none where its agent knows of no services. */
export async function askServices(agent: Agent, caller: AbortSignal): Promise<readonly ServiceState[]> {
  using signal = deadline(servicesLimitMs, "ask for the sandbox's services", caller)
  const asked = { method: 'GET', path: '/services/state', signal } as const
  return (await askIfKnown(agent, asked, servicesState, maxServicesBody))?.services ?? []
}

/** Replaces all services by these, and starts those that ran. */
export async function restoreServices(
  agent: Agent,
  services: readonly ServiceState[],
  caller: AbortSignal,
): Promise<ServicesRestored> {
  using signal = deadline(startLimitMs, "start the sandbox's services", caller)
  const asked = { method: 'POST', path: '/services/restore', ...json({ services }), signal } as const
  const answer = await askIfKnown(agent, asked, servicesRestored)
  return answer ?? { started: [], failed: services.filter(({ running }) => running).map(({ name }) => name) }
}
