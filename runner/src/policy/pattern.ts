/**
 * Entries of the allowlist that stand for references: `docker.io/library/*`, `ghcr.io/acme/app`, `alpine:3.*`, or `*` for whatever there is. A star is any
 * characters, `/` and `:` too. Names of Docker Hub may be short, as everywhere else. An entry that ends with the path stands for every tag and digest.
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
  /** With registry, and with tag or digest as it has them. */
  readonly full: string
  /** Without tag and digest. */
  readonly repository: string
}

export function spell(reference: Reference): Spelled {
  const { tag, digest } = reference
  const repository = repositoryOf(reference)
  const end = `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
  return { full: `${repository}${end}`, repository }
}

/** Whether the entry stands for it. */
export function matches(entry: string, { full, repository }: Spelled): boolean {
  if (entry === everything) return true
  if (!isPattern(entry)) return false
  const pattern = expression(withRegistry(entry))
  return pattern.test(full) || pattern.test(repository)
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
  return new RegExp(`^${parts.join('.*')}$`)
}
