/** What the agent writes between the outputs of a shell's commands: where each begins and where it ends. */

import { z } from 'zod'

export const shellMark = z.object({
  run: z.string(),
  state: z.enum(['started', 'ended']),
  exit_code: z.int().optional(),
  duration_ms: z.number().optional(),
})
export type ShellMark = z.infer<typeof shellMark>

/** The mark in a piece of output of that kind; undefined for what is none. */
export function readMark({ bytes }: { readonly bytes: Uint8Array }): ShellMark | undefined {
  try {
    const parsed = shellMark.safeParse(JSON.parse(new TextDecoder().decode(bytes)))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}
