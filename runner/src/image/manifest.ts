/**
 * What a registry says of an image: indexes, manifests and configs of Docker and OCI, checked and reduced to what a pull needs. All of it is a
 * stranger's text.
 */

import { createHash } from 'node:crypto'
import type { ImageConfig } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/)
const size = z.number().int().min(0)

const platformed = z.object({
  digest,
  platform: z
    .object({ os: z.string().max(64), architecture: z.string().max(64), variant: z.string().optional() })
    .optional(),
})
const index = z.object({ manifests: z.array(platformed).max(1024) })

const layerSchema = z.object({ digest, size, mediaType: z.string().default(''), urls: z.array(z.string()).optional() })
const manifestSchema = z.object({
  config: z.object({ digest, size, mediaType: z.string().default('') }),
  layers: z.array(layerSchema).max(512),
})

const words = z.union([z.array(z.string()), z.string().transform((word) => [word]), z.null()]).optional()
const configSchema = z.object({
  os: z.string().max(64).default('linux'),
  architecture: z.string().max(64).default(''),
  config: z
    .object({
      Env: z.array(z.string()).nullish(),
      WorkingDir: z.string().nullish(),
      User: z.string().nullish(),
      Entrypoint: words,
      Cmd: words,
    })
    .nullish(),
  rootfs: z.object({ diff_ids: z.array(digest).max(512) }),
})

export interface Manifest {
  readonly layers: readonly { readonly digest: string; readonly size: number }[]
  readonly configDigest: string
  /** Of all that is to be fetched. */
  readonly bytes: number
}

export interface Config {
  readonly diffIds: readonly string[]
  readonly image: ImageConfig
}

/** The kind of processor that sandboxes have. */
const wanted = { os: 'linux', architecture: 'amd64' }
const configTypes = /^application\/vnd\.(?:docker\.container\.image\.v1|oci\.image\.config\.v1)\+json$/
const maxConfigBytes = 64 * 1024

export function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

/** The digest of the manifest for linux/amd64 where the text is an index of several; undefined where it is a manifest itself. */
export function chooseFromIndex(text: string, what: string): string | undefined {
  const value = json(text, what)
  if (typeof value !== 'object' || value === null || !('manifests' in value)) return undefined
  const parsed = index.safeParse(value)
  if (!parsed.success) throw unsuitable(what, 'its index is malformed')
  const { manifests } = parsed.data
  const found = manifests.find(
    ({ platform }) => platform?.os === wanted.os && platform.architecture === wanted.architecture,
  )
  if (found) return found.digest
  const there = manifests.flatMap(({ platform }) => (platform ? [`${platform.os}/${platform.architecture}`] : []))
  throw otherPlatform(
    what,
    [...new Set(there)].filter((name) => name !== 'unknown/unknown'),
  )
}

export function readManifest(text: string, what: string): Manifest {
  const parsed = manifestSchema.safeParse(json(text, what))
  if (!parsed.success) throw unsuitable(what, 'its manifest is malformed, or of a format that Docker gave up in 2017')
  const { config, layers } = parsed.data
  if (!configTypes.test(config.mediaType)) throw unsuitable(what, 'it is no image of a file system')
  if (layers.some(({ urls = [] }) => urls.length > 0))
    throw unsuitable(what, 'it has layers that lie outside its registry')
  const bytes = layers.reduce((sum, layer) => sum + layer.size, config.size)
  return {
    layers: layers.map((layer) => ({ digest: layer.digest, size: layer.size })),
    configDigest: config.digest,
    bytes,
  }
}

export function readConfig(text: string, manifest: Manifest, what: string): Config {
  if (digestOf(text) !== manifest.configDigest)
    throw unsuitable(what, 'its config does not have the digest that its manifest names')
  const parsed = configSchema.safeParse(json(text, what))
  if (!parsed.success) throw unsuitable(what, 'its config is malformed')
  const { os, architecture, config, rootfs } = parsed.data
  if (os !== wanted.os || architecture !== wanted.architecture) throw otherPlatform(what, [`${os}/${architecture}`])
  if (rootfs.diff_ids.length !== manifest.layers.length)
    throw unsuitable(what, 'its config and its manifest differ in their layers')
  const image: ImageConfig = {
    env: variables(config?.Env ?? []),
    workdir: config?.WorkingDir?.startsWith('/') ? config.WorkingDir : '/',
    user: config?.User ?? '',
    entrypoint: config?.Entrypoint ?? [],
    cmd: config?.Cmd ?? [],
  }
  if (JSON.stringify(image).length > maxConfigBytes) throw unsuitable(what, 'its config is larger than 64 KiB')
  if (JSON.stringify(image).includes('\\u0000')) throw unsuitable(what, 'its config has a NUL byte')
  return { diffIds: rootfs.diff_ids, image }
}

/** `KEY=VALUE` lines; what is none is left out, as Docker does, and so is a name that no shell could set. */
function variables(lines: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {}
  for (const line of lines) {
    const equals = line.indexOf('=')
    if (equals > 0) found[line.slice(0, equals)] = line.slice(equals + 1)
  }
  return found
}

function json(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('image_unsuitable', `cannot pull ${what}: its registry's answer is no JSON`, { cause })
  }
}

function otherPlatform(what: string, there: readonly string[]): AppError {
  const list = there.slice(0, 8).join(', ')
  return unsuitable(
    what,
    `there is none for linux/amd64, which this runner's sandboxes are${list === '' ? '' : `; there is ${list}`}`,
  )
}

export function unsuitable(what: string, why: string): AppError {
  return new AppError('image_unsuitable', `cannot pull ${what}: ${why}`)
}
