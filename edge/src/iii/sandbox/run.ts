/** `sandbox::run`: a sandbox, a program in it, and the end of both in one call. With `keep_sandbox` it stays for further calls. */

import { sleep } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { parseSandboxId, type SandboxId, uuidOf } from '@portico/shared/ids'
import { z } from 'zod'
import { noteCall } from '../../audit/calls.ts'
import { callGuest } from '../../guest/call-guest.ts'
import { namedPath } from '../../guest/named-path.ts'
import { logFailure } from '../../log.ts'
import { destroyRun } from '../../routes/runs.ts'
import type { InvocationContext } from '../context.ts'
import { Fault } from '../errors.ts'
import { iiiFunction } from '../functions.ts'
import { createPayload, lateMs, makeSandbox } from './create.ts'
import { commandOf, execPayload, runCommand } from './exec.ts'

const writeMs = 60_000
const folder = '/tmp/run'

const runPayload = createPayload.extend({
  code: z.string(),
  lang: z.string().nullish(),
  files: z.array(z.object({ path: z.string(), content: z.string() })).nullish(),
  stdin: execPayload.shape.stdin,
  timeout_ms: execPayload.shape.timeout_ms,
  keep_sandbox: z.boolean().nullish(),
})

/** What runs a program of a language, and what its file is called. */
const languages: Readonly<Record<string, readonly [program: string, file: string]>> = {
  python: ['python3', 'main.py'],
  node: ['node', 'main.mjs'],
  bash: ['bash', 'main.sh'],
  sh: ['sh', 'main.sh'],
}
const otherNames: Readonly<Record<string, string>> = { python3: 'python', javascript: 'node', js: 'node', shell: 'sh' }

export const run = iiiFunction({
  id: 'sandbox::run',
  needs: 'manage',
  schema: runPayload,
  async handle(payload, context) {
    const { image, code, files, keep_sandbox } = payload
    const [program, file] = languageOf(payload.lang ?? image)
    const path = `${folder}/${file}`
    // What is wrong with the request is told before anything is made.
    const command = commandOf([program, path], { ...payload, env: undefined, workdir: undefined })
    const written = [...(files ?? []).map((one) => ({ ...one, path: inFolder(one.path) })), { path, content: code }]
    const { id: text } = await makeSandbox(payload, context)
    const id = parseSandboxId(text) as SandboxId
    let stays = false
    try {
      for (const one of written) await write(context, id, one)
      const over = await context.locks.during(id, () => runCommand(context, id, { ...command, workdir: folder }))
      stays = keep_sandbox === true
      return { ...over, sandbox_id: uuidOf(id) }
    } finally {
      // Of one whose call failed nobody would learn the id.
      if (!stays) await end(context, id)
    }
  },
  async interrupted(sandbox, context) {
    const id = parseSandboxId(sandbox ?? '')
    if (id !== undefined && !(await end(context, id))) {
      await sleep(lateMs, context.signal, context.services.clock)
      await end(context, id)
    }
    throw new AppError('overloaded', 'cannot finish the run: the platform interrupted it, and its sandbox is ended')
  },
})

function languageOf(name: string): readonly [string, string] {
  const language = languages[otherNames[name] ?? name]
  if (language !== undefined) return language
  throw new Fault('S001', `lang must be one of ${Object.keys(languages).join(', ')}`)
}

/** A path that is not absolute is of the folder in which the program runs. */
function inFolder(path: string): string {
  return path.startsWith('/') ? path : `${folder}/${path}`
}

async function write(context: InvocationContext, id: SandboxId, { path, content }: { path: string; content: string }) {
  const call = context.call(id)
  const bytes = new TextEncoder().encode(content)
  const query = new URLSearchParams({ ...namedPath(path, undefined, 'path') })
  const headers = { 'content-type': 'application/octet-stream', 'content-length': String(bytes.byteLength) }
  const body = bytes.byteLength === 0 ? null : content
  const answer = await callGuest(call, id, { method: 'PUT', path: `/files?${query}`, headers, body, waitMs: writeMs })
  await answer.body?.cancel()
  noteCall(call, id, 'file.uploaded', { path, bytes: bytes.byteLength })
}

/** One that cannot be ended now ends by its idle time; the answer is not held up by that. False if there is none. */
async function end(context: InvocationContext, id: SandboxId): Promise<boolean> {
  try {
    await destroyRun(context.call(id))
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (error.code === 'sandbox_not_found') return false
    logFailure('end the sandbox of a run', error)
  }
  return true
}
