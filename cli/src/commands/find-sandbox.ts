/** The sandbox that a command names. */

import type { Portico, Sandbox } from '@portico/sdk'
import { CommandError } from '../command-error.ts'

export async function findSandbox(portico: Portico, id: string, signal: AbortSignal): Promise<Sandbox> {
  const sandbox = await portico.get(id, { signal })
  if (sandbox === null) throw new CommandError(`cannot find sandbox ${id}`, '`portico list` shows those that exist.')
  return sandbox
}
