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
  const auth = read.auth && { line: read.auth.line, path: resolve(dirname(file), read.auth.path) }
  const wrong = auth && (await wrongWith(auth.path))
  const problems = [...read.problems, ...(wrong === undefined ? [] : [{ line: auth?.line ?? 1, message: wrong }])]
  if (!('policy' in read) || problems.length > 0) {
    const told = problems.toSorted((one, other) => one.line - other.line)
    return { complaints: told.map(({ line, message }) => `${file}:${line}: ${message}`) }
  }
  if (!auth) return { policy: read.policy, complaints: [] }
  return { policy: Object.freeze({ ...read.policy, registry_auth: auth.path }), complaints: [] }
}

/** Why credentials cannot be read from there; nothing of what the file holds is said. */
async function wrongWith(path: string): Promise<string | undefined> {
  try {
    const content: unknown = JSON.parse(await readFile(path, 'utf8'))
    const isMap = typeof content === 'object' && content !== null && !Array.isArray(content)
    return isMap ? undefined : `registry_auth: ${path} is no containers-auth.json`
  } catch (cause) {
    if (cause instanceof SyntaxError) return `registry_auth: ${path} is no JSON`
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    return `registry_auth: ${isMissing ? 'there is no file' : 'cannot read'} ${path}`
  }
}

/** The policy, or `invalid_request` with all complaints. */
export async function loadPolicy(file: string, reserved: Reserved): Promise<Policy> {
  const loaded = await inspectPolicy(file, reserved)
  if ('policy' in loaded) return loaded.policy
  throw new AppError('invalid_request', `cannot use the policy: ${loaded.complaints.join('; ')}`)
}
