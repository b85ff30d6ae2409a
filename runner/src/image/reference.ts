/**
 * Names of images as Docker and its kin spell them, made whole: `alpine:3.20` is `docker.io/library/alpine:3.20`. Pure; says what a name means, asks no registry.
 */

import { AppError } from '@portico/shared/errors'

export interface Reference {
  /** `host[:port]`. */
  readonly registry: string
  /** Path without the registry, such as `library/alpine`. */
  readonly repository: string
  readonly tag?: string
  /** `sha256:…`. */
  readonly digest?: string
}

const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const digestPattern = /^sha256:[0-9a-f]{64}$/
const hostPattern =
  /^(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/
const maxRepository = 255

/** Tags that name another image tomorrow. */
const movingTags: ReadonlySet<string> = new Set(['latest', 'lts', 'stable'])

/** Reads a reference; `invalid_request` says what is wrong with it. */
export function parseReference(text: string): Reference {
  const found = tryReference(text)
  if (typeof found === 'string')
    throw new AppError('invalid_request', `cannot read the image reference ${quoted(text)}: ${found}`)
  return found
}

/** Whether the text can be an image reference at all. */
export function isReference(text: string): boolean {
  return typeof tryReference(text) !== 'string'
}

/** Whole spelling, with registry: `docker.io/library/alpine:3.20`; tag `latest` where it names neither tag nor digest. */
export function formatReference(reference: Reference): string {
  const { tag, digest } = reference
  const end = digest === undefined ? `:${tag ?? 'latest'}` : `${tag === undefined ? '' : `:${tag}`}@${digest}`
  return `${repositoryOf(reference)}${end}`
}

/** Registry and path: `docker.io/library/alpine`. */
export function repositoryOf({ registry, repository }: Reference): string {
  return `${registry}/${repository}`
}

/** `docker.io/library/alpine@sha256:…`. */
export function resolvedName(reference: Reference, digest: string): string {
  return `${repositoryOf(reference)}@${digest}`
}

/** Whether what it names may be another image tomorrow, as far as the name tells: no tag, `latest`, `lts`, `stable`, without a digest. */
export function isMoving({ tag, digest }: Reference): boolean {
  return digest === undefined && (tag === undefined || movingTags.has(tag))
}

function tryReference(text: string): Reference | string {
  if (text === '' || text.length > 512) return 'it is empty or longer than 512 characters'
  const at = text.indexOf('@')
  const digest = at === -1 ? undefined : text.slice(at + 1)
  if (digest !== undefined && !digestPattern.test(digest)) return 'a digest is sha256: and 64 hexadecimal digits'
  const { path, tag } = splitTag(at === -1 ? text : text.slice(0, at))
  if (tag !== undefined && !tagPattern.test(tag)) return 'a tag has letters, digits and . _ -'
  const { registry, repository } = splitRegistry(path)
  if (!hostPattern.test(registry)) return 'its registry is no host name'
  if (repository.length > maxRepository) return `its path is longer than ${maxRepository} characters`
  if (!repository.split('/').every((part) => component.test(part)))
    return 'a path has small letters, digits and single . _ - between them'
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  }
}

function splitTag(text: string): { path: string; tag?: string } {
  const colon = text.lastIndexOf(':')
  if (colon === -1 || text.indexOf('/', colon) !== -1) return { path: text }
  return { path: text.slice(0, colon), tag: text.slice(colon + 1) }
}

/** The first part is a registry when it can be no path of Docker Hub: it has a dot or a port, or is `localhost`. */
function splitRegistry(path: string): { registry: string; repository: string } {
  const slash = path.indexOf('/')
  const first = slash === -1 ? '' : path.slice(0, slash)
  if (/[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase()) {
    const rest = path.slice(slash + 1)
    if (first !== 'docker.io' && first !== 'index.docker.io') return { registry: first, repository: rest }
    return { registry: 'docker.io', repository: rest.includes('/') ? rest : `library/${rest}` }
  }
  return { registry: 'docker.io', repository: slash === -1 ? `library/${path}` : path }
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}
