/** What a tar could not do with single entries: told when it is over. What was left out or not written makes the command fail. */

import { failed } from './exit-codes.ts'
import { format } from './output/failure.ts'
import type { Session } from './session.ts'

/** More than this are told as their number. */
const most = 10

export interface TarWarnings {
  readonly take: (code: string, message: string | Error, about: Readonly<Record<string, unknown>>) => void
  /** Says them. */
  readonly told: () => Promise<void>
}

export function tarWarnings(session: Session): TarWarnings {
  const lines: string[] = []
  return {
    take: (code, message, about) => {
      // Of these the entry is there all the same.
      if (code !== 'TAR_ENTRY_INFO') session.exitCode = failed
      const why = message instanceof Error ? message.message : message
      lines.push(`${nameOf(about) ?? 'the archive'}: ${why}`)
    },
    told: async () => {
      for (const line of lines.slice(0, most)) await session.terminal.complain(format(line))
      if (lines.length > most) await session.terminal.complain(format(`and ${lines.length - most} more of these`))
    },
  }
}

/** The entry that a warning speaks of: it is told by its path, or as itself. */
function nameOf({ path, entry }: Readonly<Record<string, unknown>>): string | undefined {
  if (typeof path === 'string') return path
  return typeof entry === 'object' && entry !== null && 'path' in entry ? String(entry.path) : undefined
}
