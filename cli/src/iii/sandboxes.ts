/** What the sandbox commands of the iii surface do on it, and the same sandbox as the ordinary API has it. */

import type { Portico, Sandbox } from '@portico/sdk'
import { NotFoundError } from '@portico/sdk/errors'
import { sandboxIdOfUuid } from '@portico/shared/ids'
import { CommandError } from '../command-error.ts'
import type { Connection } from '../connection.ts'
import { lines } from '../output/failure.ts'
import type { Session } from '../session.ts'
import { EngineError, invoke, UnopenedError } from './engine.ts'

/** Both ways to one platform. */
export interface Platform {
  readonly portico: Portico
  readonly connection: Connection
}

/** Invokes a function. Where no socket can be opened the ordinary API says why: a wrong key, a platform that is not there. */
export async function call(
  { portico, connection }: Platform,
  functionId: string,
  data: object,
  signal?: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  try {
    const result = await invoke(connection, functionId, data, signal)
    return typeof result === 'object' && result !== null ? (result as Record<string, unknown>) : {}
  } catch (error) {
    if (error instanceof UnopenedError) await portico.list({ name: crypto.randomUUID(), signal })
    throw error
  }
}

/** Creates a sandbox and answers with its UUID. Who is interrupted meanwhile leaves none: what comes of the call is waited for and destroyed. */
export async function create(session: Session, platform: Platform, data: object): Promise<string> {
  const { sandbox_id: uuid } = await call(platform, 'sandbox::create', data)
  if (typeof uuid !== 'string') throw new CommandError('cannot create a sandbox: the answer names none')
  if (session.signal.aborted) {
    await destroy(session, platform.portico, uuid)
    throw session.signal.reason
  }
  return uuid
}

/** The sandbox behind a UUID, to run a command in. Where there is none the surface says whether there ever was: S004 or S002. */
export async function findLive(platform: Platform, uuid: string, signal: AbortSignal): Promise<Sandbox> {
  try {
    return await find(platform.portico, uuid, signal)
  } catch (error) {
    if (error instanceof EngineError && error.code === 'S002')
      await call(platform, 'sandbox::exec', { sandbox_id: uuid, cmd: 'true' }, signal)
    throw error
  }
}

/** The sandbox behind a UUID. */
export async function find(portico: Portico, uuid: string, signal?: AbortSignal): Promise<Sandbox> {
  const id = sandboxIdOfUuid(uuid)
  if (id === undefined) throw new EngineError('S001', `sandbox_id is not a valid UUID: ${uuid}`)
  const sandbox = await portico.get(id, { signal })
  if (sandbox === null) throw new EngineError('S002', `sandbox not found: ${uuid}`)
  return sandbox
}

/** Destroys a sandbox. A failure is told, and changes nothing of how the command ended. */
export async function destroy(session: Session, portico: Portico, uuid: string): Promise<void> {
  try {
    await (await find(portico, uuid)).destroy()
  } catch (error) {
    const isGone = error instanceof NotFoundError || (error instanceof EngineError && error.code === 'S002')
    if (!isGone) await session.terminal.complain(`${lines(error)}hint: the sandbox may still run: ${uuid}\n`)
  }
}
