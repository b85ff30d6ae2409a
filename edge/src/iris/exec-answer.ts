/**
 * The agent's answer to a command as Iris has it: `ok` is added, and a command that ran out of time has the exit code 124. The agent tells the exit code first
 * and whether time ran out last, and what stands between may be 20 MiB: so a long answer passes through and gets both at its end.
 */

import { AppError } from '@portico/shared/errors'
import { guestExecResponse } from '@portico/shared/guest'
import { pieces } from '../body.ts'

/** So much is held whole. */
const smallBytes = 65_536
/** What follows the output is shorter. */
const tailBytes = 512
const outOfTime = 124
const encoder = new TextEncoder()
/** One character a byte: only the ASCII around the output is looked at. */
const bytewise = new TextDecoder('windows-1252')

export interface ExecAnswer {
  /** As the agent told it, where nobody could wait for the end. */
  readonly exitCode: number
  readonly response: Response
}

/** The answer for the caller. Throws where the agent's is none. */
export async function execAnswer(answer: Response): Promise<ExecAnswer> {
  const length = Number(answer.headers.get('content-length') ?? Number.NaN)
  if (length <= smallBytes || answer.body === null) return whole(await answer.text())
  const rest = pieces(answer.body)
  const first = await beginning(rest)
  const [head = '', code = ''] = /^\{"exit_code":(-?\d{1,10}),/.exec(bytewise.decode(first.subarray(0, 64))) ?? []
  if (head === '') {
    await rest.return()
    await answer.body.cancel()
    throw nonsense()
  }
  const exitCode = Number(code)
  const { readable, writable } = new IdentityTransformStream()
  void pass({ body: answer.body, first: first.subarray(head.length), rest, exitCode, writable })
  return { exitCode, response: new Response(readable, { headers: json }) }
}

const json = { 'content-type': 'application/json' }

function whole(text: string): ExecAnswer {
  const parsed = guestExecResponse.safeParse(parse(text))
  if (!parsed.success) throw nonsense()
  const { exit_code, stdout, stderr, timed_out, ...rest } = parsed.data
  const exitCode = timed_out ? outOfTime : exit_code
  const body = { stdout, stderr, exit_code: exitCode, ok: exitCode === 0, timed_out, ...rest }
  return { exitCode, response: Response.json(body) }
}

/** Enough to hold the head, if there is so much. */
async function beginning(rest: AsyncGenerator<Uint8Array, void>): Promise<Uint8Array> {
  let bytes: Uint8Array = new Uint8Array()
  while (bytes.byteLength < 64) {
    const { done, value } = await rest.next()
    if (done === true) break
    bytes = joined(bytes, value)
  }
  return bytes
}

interface Passing {
  readonly body: ReadableStream
  /** What came with the head, without it. */
  readonly first: Uint8Array
  readonly rest: AsyncGenerator<Uint8Array, void>
  readonly exitCode: number
  readonly writable: WritableStream
}

/** Begins the object anew, passes what comes and ends it with what is known by then. A side that fails is told by the other. */
async function pass({ body, first, rest, exitCode, writable }: Passing): Promise<void> {
  const writer = writable.getWriter()
  try {
    await writer.write(encoder.encode('{'))
    let held = first
    for await (const piece of rest) {
      const both = joined(held, piece)
      const ready = Math.max(0, both.byteLength - tailBytes)
      if (ready > 0) await writer.write(both.subarray(0, ready))
      held = both.slice(ready)
    }
    await writer.write(ended(held, exitCode))
    await writer.close()
  } catch (thrown) {
    await writer.abort(thrown).catch(() => undefined)
    await body.cancel(thrown).catch(() => undefined)
  }
}

/** The end of an answer with what it lacks. */
function ended(held: Uint8Array, exitCode: number): Uint8Array {
  // Within the output a quote has a backslash before it.
  const [tail = '', timedOut = ''] = /,"timed_out":(true|false)[,}][^\n]*$/.exec(bytewise.decode(held)) ?? []
  if (!tail.endsWith('}')) throw nonsense()
  const code = timedOut === 'true' ? outOfTime : exitCode
  return joined(held.subarray(0, -1), encoder.encode(`,"exit_code":${code},"ok":${code === 0}}`))
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.byteLength + b.byteLength)
  both.set(a)
  both.set(b, a.byteLength)
  return both
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function nonsense(): AppError {
  return new AppError('guest_error', 'cannot finish the command: the sandbox answered nonsense')
}
