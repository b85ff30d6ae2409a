/** Files of a sandbox. Paths are absolute. */

import { fileExists, fileStat } from '@portico/shared/api'
import { z } from 'zod'
import { shortMs, uploadMs } from '../limits.ts'
import type { DataPlane } from './data-plane.ts'
import { invalid } from './errors.ts'
import type { CallOptions } from './wire.ts'

export type EntryType = 'file' | 'directory' | 'symlink' | 'other'

/** An entry of a listing; its name is relative to the listed directory. */
export interface FileEntry {
  readonly name: string
  readonly is_dir: boolean
  readonly size: number
}

export interface FileListing {
  readonly path: string
  readonly entries: readonly FileEntry[]
  /** There is more than is told: list sub-directories, or increase the depth. */
  readonly truncated: boolean
}

/** Of a link itself, not of what it points at. */
export interface FileStat {
  readonly name: string
  readonly path: string
  readonly size: number
  /** RFC 3339. */
  readonly modified_at: string
  readonly is_dir: boolean
  /** Octal, such as `755`. */
  readonly permissions: string
  readonly owner: string
  readonly group: string
  /** Empty unless it is a link. */
  readonly symlink_target: string
}

export interface FileExists {
  readonly exists: boolean
  readonly entry_type?: EntryType | undefined
}

const listing = z.object({
  path: z.string(),
  entries: z.array(z.looseObject({ name: z.string(), is_dir: z.boolean(), size: z.number() })),
  truncated: z.boolean(),
})
const anything = z.unknown()

export class SandboxFiles {
  readonly #plane: DataPlane

  /** @internal Made by Sandbox alone. */
  constructor(plane: DataPlane) {
    this.#plane = plane
  }

  /** Writes a file, replacing what was there; makes the directories above it. `mode` is octal, such as `0755`. At most 1 MiB. */
  async write(
    path: string,
    content: string | Uint8Array | Blob,
    mode?: string,
    { signal }: CallOptions = {},
  ): Promise<void> {
    if (mode !== undefined && !/^[0-7]{3,4}$/.test(mode))
      throw invalid(`cannot write ${path}: the mode ${mode} is not octal, such as 0755`)
    const headers: Record<string, string> = mode === undefined ? {} : { 'x-file-mode': mode }
    const call = { method: 'POST', path: `/v1/files${at(path)}`, doing: `write ${path}`, limitMs: uploadMs } as const
    await this.#plane.bytes({ ...call, bytes: content, headers, signal })
  }

  /** The bytes of a file. */
  async read(path: string, { signal }: CallOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const call = { method: 'GET', path: `/v1/files${at(path)}`, doing: `read ${path}`, limitMs: uploadMs } as const
    return await this.#plane.bytes({ ...call, repeatable: true, signal })
  }

  /** A file as UTF-8. */
  async readText(path: string, options: CallOptions = {}): Promise<string> {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(await this.read(path, options))
  }

  /** Removes a file, a link or an empty directory; with `recursive` also a directory with what it holds. */
  async remove(path: string, options: CallOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    const { recursive = false, signal } = options
    const target = `/v1/files${at(path)}${recursive ? '&recursive=true' : ''}`
    const call = { method: 'DELETE', path: target, doing: `remove ${path}`, limitMs: shortMs, signal } as const
    await this.#plane.json(call, anything)
  }

  /** What is in a directory; with a `depth` also what is in those below it. */
  async list(path: string, options: CallOptions & { readonly depth?: number } = {}): Promise<FileListing> {
    const { depth, signal } = options
    const target = `/v1/files/list${at(path)}${depth === undefined ? '' : `&depth=${depth}`}`
    return await this.#plane.json(look(target, `list ${path}`, signal), listing)
  }

  /** Makes a directory. With `parents` also those above it, and one that is there already is fine. */
  async mkdir(options: CallOptions & { readonly path: string; readonly parents?: boolean }): Promise<void> {
    const { signal, ...json } = options
    await this.#plane.json(post('/v1/files/mkdir', `make ${json.path}`, json, signal), anything)
  }

  /** Moves or renames; makes the directories above the destination. */
  async move(options: CallOptions & { readonly source: string; readonly destination: string }): Promise<void> {
    const { signal, ...json } = options
    await this.#plane.json(post('/v1/files/move', `move ${json.source}`, json, signal), anything)
  }

  /** What is known of a path. */
  async stat(path: string, { signal }: CallOptions = {}): Promise<FileStat> {
    return await this.#plane.json(look(`/v1/files/stat${at(path)}`, `look at ${path}`, signal), fileStat)
  }

  /** Whether there is something at a path, and what. */
  async exists(path: string, { signal }: CallOptions = {}): Promise<FileExists> {
    return await this.#plane.json(look(`/v1/files/exists${at(path)}`, `look for ${path}`, signal), fileExists)
  }
}

function at(path: string): string {
  return `?path=${encodeURIComponent(path)}`
}

function look(path: string, doing: string, signal: AbortSignal | undefined) {
  return { method: 'GET', path, doing, limitMs: shortMs, repeatable: true, signal } as const
}

function post(path: string, doing: string, json: object, signal: AbortSignal | undefined) {
  return { method: 'POST', path, doing, limitMs: shortMs, json, signal } as const
}
