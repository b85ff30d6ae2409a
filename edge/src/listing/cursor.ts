/** Where a page of a list ended, as callers carry it back: opaque to them, checked when it comes. */

import { AppError } from '@portico/shared/errors'
import type { Place } from '../store/sandbox-index.ts'

/** The cursor that leads to what follows this place. */
export function cursorOf({ at, id }: Place): string {
  return btoa(`${at} ${id}`).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** The place of a cursor that was given out; none for none. */
export function placeOf(cursor: string | undefined): Place | undefined {
  if (cursor === undefined) return undefined
  const match = /^(\d{1,15}) ([a-z0-9]{1,64})$/.exec(decoded(cursor))
  if (match === null) throw new AppError('invalid_request', 'cannot go on with the list: the cursor is not one of ours')
  return { at: Number(match[1]), id: match[2] ?? '' }
}

function decoded(cursor: string): string {
  try {
    return atob(cursor.replaceAll('-', '+').replaceAll('_', '/'))
  } catch {
    return ''
  }
}
