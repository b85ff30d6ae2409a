/**
 * A status names all sandboxes of its runner, which need not fit into a head. A list that fits stands there; a longer one is the body of
 * the call, one JSON array, for a peer of generation 2. The head has no list then, so that whoever does not know of the body refuses the
 * call and takes nothing for lost.
 */

import { AppError } from '../errors.ts'
import { maxHead, readWhole, type TunnelStream } from '../tunnel/index.ts'
import { type RunnerStatus, type RunnerStatusHead, sandboxList } from './from-runner.ts'

/** Room for about 50,000 sandboxes. */
export const maxStatusBody = 4_194_304

/** The first generation whose edge reads the body. */
const bodySince = 2

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** How a status is told to a peer of that generation. Throws `payload_too_large` where it cannot be told. */
export function statusCall(
  status: RunnerStatus,
  generation: number,
): { readonly head: object; readonly body?: Uint8Array } {
  const { length } = encoder.encode(JSON.stringify(status))
  if (length <= maxHead) return { head: status }
  const { sandboxes, ...figures } = status
  const count = `cannot report ${sandboxes.length} sandboxes`
  if (generation < bodySince) throw new AppError('payload_too_large', `${count}: the edge is too old for so many`)
  const body = encoder.encode(JSON.stringify(sandboxes))
  if (body.length > maxStatusBody) {
    throw new AppError('payload_too_large', `${count}: that is over ${maxStatusBody} bytes`)
  }
  return { head: { ...figures, body: 'sandboxes' }, body }
}

/** The status of a head, with the list from the stream if it is there. The wait for it ends with the stream, which the caller bounds. */
export async function readStatus(head: RunnerStatusHead, stream: TunnelStream): Promise<RunnerStatus> {
  const { body, sandboxes, ...figures } = head
  if (body === undefined && sandboxes !== undefined) return { ...figures, sandboxes }
  if (body === undefined) throw malformed('it has no list of sandboxes')
  return { ...figures, sandboxes: parseList(await readWhole(stream, maxStatusBody)) }
}

function parseList(bytes: Uint8Array): RunnerStatus['sandboxes'] {
  try {
    return sandboxList.parse(JSON.parse(decoder.decode(bytes)))
  } catch (cause) {
    throw malformed('its body is no list of sandboxes', cause)
  }
}

function malformed(why: string, cause?: unknown): AppError {
  return new AppError('protocol_error', `cannot read the runner's status: ${why}`, { cause })
}
