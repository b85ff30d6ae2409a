/** `sandbox::fs::{mkdir,rm,chmod,mv}`: what changes files without their contents passing through. */

import { fileDone, fileTree } from '@portico/shared/api'
import { z } from 'zod'
import { noteCall } from '../../audit/calls.ts'
import type { KeyCall } from '../../call.ts'
import { askGuest, type Question } from '../../process/ask.ts'
import type { InvocationContext } from '../context.ts'
import { iiiFunction } from '../functions.ts'
import { inSandbox } from '../named-sandbox.ts'
import { withFaults } from './faults.ts'
import { statOf } from './look.ts'
import { absolute, assertParent, entryAt, isMissing, missingParent, octal } from './paths.ts'

/** A whole tree may take its time. */
const treeWaitMs = 600_000
/** How far a tree is counted. */
const deepest = 1000
const mostCounted = 100_000
const flag = z.boolean().nullish()
const target = { sandbox_id: z.string(), path: z.string() }

export const mkdir = iiiFunction({
  id: 'sandbox::fs::mkdir',
  needs: 'use',
  schema: z.object({ ...target, mode: z.string().nullish(), parents: flag }),
  handle: (payload, context) =>
    changing(context, payload.sandbox_id, async (id, call) => {
      const path = absolute(payload.path)
      const json = { path, mode: octal(payload.mode ?? '0755'), parents: payload.parents === true }
      const isThere = json.parents && (await entryAt(call, id, path)) !== null
      try {
        await change(call, id, { method: 'POST', path: '/files/mkdir', json })
      } catch (thrown) {
        if (!isMissing(thrown) || json.parents) throw thrown
        throw missingParent(path, { parents: true })
      }
      noteCall(call, id, 'file.changed', { change: 'mkdir', ...json })
      return { created: !isThere }
    }),
})

export const rm = iiiFunction({
  id: 'sandbox::fs::rm',
  needs: 'use',
  schema: z.object({ ...target, recursive: flag }),
  handle: (payload, context) =>
    changing(context, payload.sandbox_id, async (id, call) => {
      const path = absolute(payload.path)
      const recursive = payload.recursive === true
      const query = new URLSearchParams({ path, recursive: String(recursive) })
      const removed = change(call, id, { method: 'DELETE', path: `/files?${query}` })
      // Without `recursive` it is not empty; with it something is mounted below.
      await withFaults(removed, { conflict: recursive ? 'S216' : 'S214' })
      noteCall(call, id, 'file.removed', { path, recursive })
      return { removed: true }
    }),
})

export const chmod = iiiFunction({
  id: 'sandbox::fs::chmod',
  needs: 'use',
  schema: z.object({
    ...target,
    mode: z.string(),
    uid: z.int().min(0).nullish(),
    gid: z.int().min(0).nullish(),
    recursive: flag,
  }),
  handle: (payload, context) =>
    changing(context, payload.sandbox_id, async (id, call) => {
      const named = { path: absolute(payload.path), recursive: payload.recursive === true }
      const mode = octal(payload.mode)
      const updated = await countOf(call, id, named)
      await change(call, id, { method: 'POST', path: '/files/chmod', json: { ...named, mode } })
      noteCall(call, id, 'file.changed', { change: 'chmod', ...named, mode })
      const { uid, gid } = payload
      if (uid != null || gid != null) {
        const owner = {
          ...(uid == null ? {} : { owner: String(uid) }),
          ...(gid == null ? {} : { group: String(gid) }),
        }
        await change(call, id, { method: 'POST', path: '/files/chown', json: { ...named, ...owner } })
        noteCall(call, id, 'file.changed', { change: 'chown', ...named, ...owner })
      }
      return { updated }
    }),
})

export const mv = iiiFunction({
  id: 'sandbox::fs::mv',
  needs: 'use',
  schema: z.object({ sandbox_id: z.string(), src: z.string(), dst: z.string(), overwrite: flag }),
  handle: (payload, context) =>
    changing(context, payload.sandbox_id, async (id, call) => {
      const paths = { source: absolute(payload.src, 'src'), destination: absolute(payload.dst, 'dst') }
      const overwrite = payload.overwrite === true
      await statOf(call, id, paths.source)
      await assertParent(call, id, paths.destination, null)
      const moved = change(call, id, { method: 'POST', path: '/files/move', json: { ...paths, overwrite } })
      // What is in the way of a move that may overwrite is a directory.
      await withFaults(moved, { conflict: overwrite ? 'S212' : 'S213' })
      noteCall(call, id, 'file.moved', paths)
      return { moved: true }
    }),
})

function changing<Value>(
  context: InvocationContext,
  sandbox: string,
  work: (id: string, call: KeyCall) => Promise<Value>,
): Promise<Value> {
  return inSandbox(context, sandbox, (id) => withFaults(work(id, context.call(id))))
}

async function change(call: KeyCall, id: string, question: Question): Promise<void> {
  await askGuest(call, id, { ...question, waitMs: treeWaitMs }, fileDone)
}

/** How many paths a change of the mode concerns: links below are left alone. */
async function countOf(call: KeyCall, id: string, { path, recursive }: { path: string; recursive: boolean }) {
  if (!recursive || !(await statOf(call, id, path)).is_dir) return 1
  const query = new URLSearchParams({ path, depth: String(deepest), limit: String(mostCounted) })
  const { entries } = await askGuest(call, id, { method: 'GET', path: `/files/list?${query}` }, fileTree)
  return 1 + entries.filter(({ type }) => type !== 'symlink').length
}
