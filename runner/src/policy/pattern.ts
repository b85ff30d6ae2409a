/**
 * Entries of the allowlist that stand for references: `docker.io/library/*`, `ghcr.io/acme/app`, `alpine:3.*`, or `*` for whatever there is. A star is any
 * characters, `/` and `:` too, but no `@`. Names of Docker Hub may be short, as everywhere else. An entry that ends with the path stands for every tag and
 * digest. Where there is a digest it alone says what is meant: a tag beside it is its writer's word.
 */

import { type Reference, repositoryOf } from '../image/reference.ts'

/** Admits every name: presets, custom images and references. */
export const everything = '*'

/** Whether an entry can only stand for references. */
export function isPattern(entry: string): boolean {
  return /[*/:@]/.test(entry) && /^[A-Za-z0-9.*_\-/:@[\]]+$/.test(entry)
}

/** What of a reference an entry is held against. */
export interface Spelled {
  /** With registry, and with its digest, or else the tag that it has. */
  readonly full: string
  /** Without tag and digest. */
  readonly repository: string
}

export function spell(reference: Reference): Spelled {
  const { tag, digest } = reference
  const repository = repositoryOf(reference)
  if (digest !== undefined) return { full: `${repository}@${digest}`, repository }
  return { full: tag === undefined ? repository : `${repository}:${tag}`, repository }
}

/** Whether the entry stands for it. */
export function matches(entry: string, { full, repository }: Spelled): boolean {
  if (entry === everything) return true
  if (!isPattern(entry)) return false
  const pattern = expression(withRegistry(withoutTag(entry)))
  return pattern.test(full) || pattern.test(repository)
}

/** Of an entry with a whole digest. */
function withoutTag(entry: string): string {
  return entry.replace(/:[^/:@]*(@sha256:[0-9a-f]{64})$/, '$1')
}

function withRegistry(entry: string): string {
  const slash = entry.indexOf('/')
  if (slash === -1) return `docker.io/library/${entry}`
  const first = entry.slice(0, slash)
  return /[.:*[]/.test(first) || first === 'localhost' ? entry : `docker.io/${entry}`
}

/** Stars in a row are one: an expression with many of them takes long to say no. */
function expression(entry: string): RegExp {
  const parts = entry.split(/\*+/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('[^@]*')}$`)
}
