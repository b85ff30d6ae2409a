/** `sandbox::fs::ls` and `sandbox::fs::stat`. Links are told, not followed. */

import { type FileStat, fileStat } from '@portico/shared/api'
import { guestFileList } from '@portico/shared/guest'
import { z } from 'zod'
import type { KeyCall } from '../../call.ts'
import { askGuest } from '../../process/ask.ts'
import { iiiFunction } from '../functions.ts'
import { inSandbox } from '../named-sandbox.ts'
import { withFaults } from './faults.ts'
import { absolute, secondsOf, spelledMode } from './paths.ts'

const payload = z.object({ sandbox_id: z.string(), path: z.string() })

export const ls = iiiFunction({
  id: 'sandbox::fs::ls',
  needs: 'read',
  schema: payload,
  handle: ({ sandbox_id, path }, context) =>
    inSandbox(context, sandbox_id, async (id) => {
      const asked = { method: 'GET', path: `/files/list?${new URLSearchParams({ path: absolute(path) })}` } as const
      const { entries } = await withFaults(askGuest(context.call(id), id, asked, guestFileList))
      return {
        entries: entries.map(({ name, type, size, mode, modified_at }) => ({
          name,
          is_dir: type === 'directory',
          size,
          mode: spelledMode(mode),
          mtime: secondsOf(modified_at),
          is_symlink: type === 'symlink',
        })),
      }
    }),
})

export const stat = iiiFunction({
  id: 'sandbox::fs::stat',
  needs: 'read',
  schema: payload,
  handle: ({ sandbox_id, path }, context) =>
    inSandbox(context, sandbox_id, async (id) => {
      const told = await withFaults(statOf(context.call(id), id, absolute(path)))
      const { name, is_dir, size, permissions, modified_at, type } = told
      const mode = spelledMode(permissions)
      return { name, is_dir, size, mode, mtime: secondsOf(modified_at), is_symlink: type === 'symlink' }
    }),
})

/** What the agent tells of one path. */
export function statOf(call: KeyCall, id: string, path: string): Promise<FileStat> {
  return askGuest(call, id, { method: 'GET', path: `/files/stat?${new URLSearchParams({ path })}` }, fileStat)
}
