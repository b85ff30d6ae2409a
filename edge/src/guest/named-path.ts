/** Paths in a sandbox as callers name them: absolute text, or base64 of bytes that are no text. They are the guest's: dots in them lead nowhere else. */

import { AppError } from '@portico/shared/errors'

/** One of the two. */
export type NamedPath = { readonly path: string } | { readonly path_base64: string }

/** Of the query: `path` or `path_base64`, in which a plus that was not escaped has become a space. */
export function pathIn(query: URLSearchParams): NamedPath {
  return namedPath(query.get('path') ?? undefined, query.get('path_base64')?.replaceAll(' ', '+'), 'path')
}

/** Exactly one of the two, and absolute. `name` is what the caller calls it. */
export function namedPath(path: string | undefined, encoded: string | undefined, name: string): NamedPath {
  if (path !== undefined && encoded !== undefined) {
    throw new AppError('invalid_request', `cannot use the path: give ${name} or ${name}_base64, not both`)
  }
  const bytes = encoded === undefined ? path : decoded(encoded, name)
  if (bytes === undefined || bytes === '') throw invalidPath(`there is no ${name}`)
  if (!bytes.startsWith('/') || bytes.includes('\0')) throw invalidPath(`${name} is not absolute`)
  // In the one spelling that the agent reads, which is padded.
  return encoded === undefined ? { path: bytes } : { path_base64: btoa(bytes) }
}

/** The bytes, a character each. */
function decoded(encoded: string, name: string): string {
  try {
    if (/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return atob(encoded)
  } catch {
    // Its length is none that base64 has.
  }
  throw invalidPath(`${name}_base64 is not base64`)
}

function invalidPath(why: string): AppError {
  return new AppError('invalid_path', `cannot use the path: ${why}`)
}
