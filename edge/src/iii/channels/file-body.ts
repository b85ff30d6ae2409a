/** What is in a file of a sandbox, asked for from a channel's object. The route is asked for anew: it is one question for one file. */

import { newRequestId } from '@portico/shared/ids'
import { objectsOf, runnerFetcher } from '../../durable/objects.ts'
import type { Env } from '../../env.ts'
import { guestError } from '../../guest/guest-errors.ts'
import { callRequest, readAnswer } from '../../guest/wire.ts'
import { unwrap } from '../../outcome.ts'
import { reach } from '../../platform-errors.ts'
import type { Caller } from '../../ports.ts'
import { lengthOf } from '../../tunnel/bodies.ts'
import type { FileSource } from './wire.ts'

const waitMs = 60_000

export async function fileBody(
  env: Env,
  caller: Caller,
  { sandbox, path }: FileSource,
  signal: AbortSignal,
): Promise<{ body: ReadableStream; length: number | undefined }> {
  const route = unwrap(await reach('find the sandbox', objectsOf(env).sandbox(sandbox).route(caller)))
  const { runner, generation } = route
  const asked = { method: 'GET', path: `/files?${new URLSearchParams({ path })}`, headers: {} } as const
  const call = { ...asked, sandbox, generation, request_id: newRequestId(), wait_ms: waitMs }
  const [url, init] = callRequest(call, null)
  const fetched = runnerFetcher(env, runner).fetch(url, { ...init, signal })
  const answer = await readAnswer(await reach('reach the sandbox', fetched))
  if (answer.status >= 400) throw guestError(answer.status, await answer.text())
  return { body: answer.body ?? new Blob([]).stream(), length: lengthOf(answer.headers.get('content-length')) }
}
