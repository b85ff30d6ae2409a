/** `sandbox::fs::write` and `sandbox::fs::read`: what is in a file, in the payload itself or through a channel. */

import type { FileStat } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { noteCall } from '../../audit/calls.ts'
import type { KeyCall } from '../../call.ts'
import { reach } from '../../platform-errors.ts'
import { isAccessKey } from '../channels/access-key.ts'
import { refusedBySandbox } from '../channels/channel.ts'
import { makeChannel } from '../channels/make-channel.ts'
import { channelPort, takeChannel } from '../channels/wire.ts'
import type { InvocationContext } from '../context.ts'
import { Fault } from '../errors.ts'
import { iiiFunction } from '../functions.ts'
import { inSandbox } from '../named-sandbox.ts'
import { readSmall, textOf, writeFile } from './body.ts'
import { withFaults } from './faults.ts'
import { statOf } from './look.ts'
import { absolute, assertParent, octal, parentOf, secondsOf, spelledMode } from './paths.ts'

/** A text of up to so many bytes is also told in the result. */
const mostInline = 1_048_576
/** Longer than a channel may be silent: it is the channel that gives up. */
const channelWaitMs = 330_000
/** Links that lead from one to the next, as the kernel has it. */
const mostLinks = 40

const channelRef = z.object({ channel_id: z.string(), access_key: z.string(), direction: z.enum(['read', 'write']) })
type Ref = z.output<typeof channelRef>

const writePayload = z.object({
  sandbox_id: z.string(),
  path: z.string(),
  mode: z.string().nullish(),
  parents: z.boolean().nullish(),
  content: z.union([z.string(), channelRef]).nullish(),
  content_b64: z.string().nullish(),
})

export const write = iiiFunction({
  id: 'sandbox::fs::write',
  needs: 'use',
  schema: writePayload,
  handle: (payload, context) =>
    inSandbox(context, payload.sandbox_id, async (id) => {
      const call = context.call(id)
      const path = absolute(payload.path)
      const mode = payload.mode == null ? {} : { mode: octal(payload.mode) }
      const content = contentOf(payload)
      const written = withFaults(
        (async () => {
          if (payload.parents !== true) await assertParent(call, id, path, { parents: true })
          if (content instanceof Uint8Array) return await writeFile(call, id, { path, ...mode }, content)
          return await writeChannel(context, call, id, { path, ...mode }, content)
        })(),
        { conflict: 'S212' },
      )
      const bytes = await written
      noteCall(call, id, 'file.uploaded', { path, bytes })
      return { bytes_written: bytes, path }
    }),
})

export const read = iiiFunction({
  id: 'sandbox::fs::read',
  needs: 'read',
  schema: z.object({ sandbox_id: z.string(), path: z.string() }),
  handle: ({ sandbox_id, path: given }, context) =>
    inSandbox(context, sandbox_id, async (id) => {
      const call = context.call(id)
      const path = absolute(given)
      const told = await withFaults(targetOf(call, id, path))
      if (told.type !== 'file') throw new Fault('S212', `not a file: ${path}`)
      const small = told.size > mostInline ? undefined : await withFaults(readSmall(call, id, path, mostInline))
      const body = small === undefined ? undefined : textOf(small)
      const refTo = await makeChannel(context, { sandbox: id, path })
      noteCall(call, id, 'file.downloaded', { path })
      const { size, permissions, modified_at } = told
      return {
        content: refTo('read'),
        ...(body === undefined ? {} : { body }),
        size,
        mode: spelledMode(permissions),
        mtime: secondsOf(modified_at),
      }
    }),
})

/** What is to be written: bytes of the payload, or a channel. Exactly one of the three ways. */
function contentOf({ content, content_b64 }: z.output<typeof writePayload>): Uint8Array | Ref {
  if (content != null && content_b64 != null) throw new Fault('S210', 'give content or content_b64, not both')
  if (content_b64 != null) return decoded(content_b64)
  if (content == null) throw new Fault('S210', 'give content or content_b64')
  if (typeof content === 'string') return new TextEncoder().encode(content)
  if (content.direction === 'read') return content
  throw new Fault('S210', "content must be the channel's reader: its writer is the caller's")
}

function decoded(text: string): Uint8Array {
  try {
    if (/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  } catch {
    // Its length is none that base64 has.
  }
  throw new Fault('S210', 'content_b64 is not valid base64')
}

/** Takes what comes through the channel into the file. A channel that ends badly leaves the file as it was. */
async function writeChannel(
  { env, principal, signal }: InvocationContext,
  call: KeyCall,
  id: string,
  to: { readonly path: string; readonly mode?: string },
  { channel_id, access_key }: Ref,
): Promise<number> {
  const channel = channel_id.toLowerCase()
  if (!(await isAccessKey(channel, access_key, env))) throw new Fault('S210', 'content names no channel')
  const { account, region } = principal
  let body: ReadableStream
  try {
    body = await reach('read the channel', takeChannel(env, channel, { account, region }, signal))
  } catch (thrown) {
    throw aborted((thrown as Error).message)
  }
  try {
    return await writeFile(call, id, { ...to, waitMs: channelWaitMs, sealed: true }, body)
  } catch (thrown) {
    const why = await reach('read the channel', channelPort(env, channel).gaveUp()).catch(() => null)
    // A sandbox that refuses says itself why. A body that broke off was the channel's.
    const isTheirs = AppError.from(thrown).code !== 'cancelled'
    if (isTheirs && (why === null || why === refusedBySandbox)) throw thrown
    throw aborted(why === null || why === refusedBySandbox ? 'it broke off' : why)
  }
}

function aborted(why: string): Fault {
  return new Fault('S218', `channel aborted: ${why}`)
}

/** The file that a path leads to, through links. */
async function targetOf(call: KeyCall, id: string, path: string): Promise<FileStat> {
  let at = path
  for (let links = 0; links <= mostLinks; links++) {
    const told = await statOf(call, id, at)
    if (told.type !== 'symlink') return told
    at = told.symlink_target.startsWith('/') ? told.symlink_target : `${parentOf(at)}/${told.symlink_target}`
  }
  throw new Fault('S210', `too many links: ${path}`)
}
