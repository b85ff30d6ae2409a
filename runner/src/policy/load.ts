/** The policy from its file. Everything that is wrong with it is told at once, as `FILE:LINE: why`; a runner with such a file does not start. */

import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { AppError } from '@portico/shared/errors'
import type { Policy, Reserved } from './policy.ts'
import { readPolicy } from './read.ts'

export type LoadedPolicy =
  | { readonly policy: Policy; readonly complaints: readonly [] }
  | { readonly complaints: readonly string[] }

/** Reads and checks the file. */
export async function inspectPolicy(file: string, reserved: Reserved): Promise<LoadedPolicy> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => cause)
  if (typeof text !== 'string') {
    const why = text.code === 'ENOENT' ? 'there is no such file' : 'it cannot be read'
    return { complaints: [`${file}: ${why}`] }
  }
  const read = readPolicy(text, reserved)
  if (!('policy' in read))
    return { complaints: read.problems.map(({ line, message }) => `${file}:${line}: ${message}`) }
  const { registry_auth: auth } = read.policy
  if (auth === undefined) return { policy: read.policy, complaints: [] }
  return { policy: Object.freeze({ ...read.policy, registry_auth: resolve(dirname(file), auth) }), complaints: [] }
}

/** The policy, or `invalid_request` with all complaints. */
export async function loadPolicy(file: string, reserved: Reserved): Promise<Policy> {
  const loaded = await inspectPolicy(file, reserved)
  if ('policy' in loaded) return loaded.policy
  throw new AppError('invalid_request', `cannot use the policy: ${loaded.complaints.join('; ')}`)
}
