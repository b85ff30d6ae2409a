/** A guest of a scripted runner with files in memory: the agent's routes for files, as far as iii's functions use them. */

import type { EdgeCall } from '@portico/shared/control'
import { AppError, type ErrorCode } from '@portico/shared/errors'
import { answer, type TunnelStream } from '@portico/shared/tunnel'
import { guestAnswers, readAll } from './scripted-runner.ts'

type GuestRequestCall = Extract<EdgeCall, { op: 'guest.request' }>

interface Entry {
  readonly type: 'file' | 'directory' | 'symlink'
  bytes: Uint8Array
  mode: string
  uid: number
  gid: number
  readonly target: string
}

const encoder = new TextEncoder()
export const modifiedAt = '2026-01-02T03:04:05.678Z'

export class FileGuest {
  readonly entries = new Map<string, Entry>([
    ['/', made('directory', '0755')],
    ['/tmp', made('directory', '1777')],
  ])
  /** Of each call that came. */
  readonly paths: string[] = []
  /** What the next call of such a name is refused with. */
  readonly refusals = new Map<string, ErrorCode>()
  /** What calls of such a name are answered by in its place. */
  readonly answers = new Map<string, (stream: TunnelStream) => Promise<void>>()

  put(path: string, content: string | Uint8Array, mode = '0644'): void {
    const bytes = typeof content === 'string' ? encoder.encode(content) : content
    this.entries.set(path, { ...made('file', mode), bytes })
  }

  link(path: string, target: string): void {
    this.entries.set(path, { ...made('symlink', '0777'), target })
  }

  folder(path: string): void {
    this.entries.set(path, made('directory', '0755'))
  }

  text(path: string): string | undefined {
    const entry = this.entries.get(path)
    return entry === undefined ? undefined : new TextDecoder().decode(entry.bytes)
  }

  /** What a script's `guest.request` does. */
  readonly serve = async (call: GuestRequestCall, stream: TunnelStream): Promise<void> => {
    try {
      const url = new URL(call.path, 'http://guest')
      const name = `${call.method} ${url.pathname}`
      this.paths.push(name)
      const refusal = this.refusals.get(name)
      if (refusal !== undefined) {
        this.refusals.delete(name)
        throw new AppError(refusal, 'cannot do it: the test says so')
      }
      const answered = this.answers.get(name)
      if (answered === undefined) await this.#serve(name, url.searchParams, stream)
      else await answered(stream)
    } catch (thrown) {
      const { code, message, status } = AppError.from(thrown)
      guestAnswers(stream, status, { error: { code, message } })
    }
  }

  async #serve(name: string, query: URLSearchParams, stream: TunnelStream): Promise<void> {
    const path = query.get('path') ?? ''
    const json = async <Body>() => JSON.parse(await readAll(stream)) as Body
    switch (name) {
      case 'GET /files':
        return this.#download(path, stream)
      case 'PUT /files':
        return this.#upload(path, query.get('mode'), stream)
      case 'DELETE /files':
        return this.#remove(path, query.get('recursive') === 'true', stream)
      case 'GET /files/list':
        return this.#list(path, Number(query.get('depth') ?? 1), stream)
      case 'GET /files/stat':
        return guestAnswers(stream, 200, this.#stat(path))
      case 'GET /files/exists': {
        const entry = this.entries.get(path)
        return guestAnswers(
          stream,
          200,
          entry === undefined ? { exists: false } : { exists: true, entry_type: entry.type },
        )
      }
      case 'POST /files/mkdir':
        return this.#mkdir(await json(), stream)
      case 'POST /files/chmod':
      case 'POST /files/chown':
        return this.#change(await json(), stream)
      case 'POST /files/move':
        return this.#move(await json(), stream)
      case 'POST /files/search':
        return this.#search(await json(), stream)
    }
    throw new AppError('not_found', `cannot find ${name}`)
  }

  #at(path: string): Entry {
    const entry = this.entries.get(path)
    if (entry === undefined) throw new AppError('file_not_found', `cannot find ${path}: no such file or directory`)
    if (entry.type !== 'symlink') return entry
    return this.#at(entry.target.startsWith('/') ? entry.target : new URL(entry.target, `file://${path}`).pathname)
  }

  #download(path: string, stream: TunnelStream): void {
    const { bytes, type } = this.#at(path)
    if (type === 'directory') throw new AppError('is_directory', `cannot read ${path}: it is a directory`)
    answer(stream, { status: 200, headers: { 'Content-Length': String(bytes.length) } })
    if (bytes.length > 0) void stream.write(bytes).catch(() => undefined)
    stream.end()
  }

  async #upload(path: string, mode: string | null, stream: TunnelStream): Promise<void> {
    const before = this.entries.get(path)
    if (before?.type === 'directory') throw new AppError('is_directory', `cannot write ${path}: it is a directory`)
    const parts: Uint8Array[] = []
    for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) parts.push(bytes.slice())
    const bytes = new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer())
    this.entries.set(path, { ...(before ?? made('file', '0644')), ...(mode === null ? {} : { mode }), bytes })
    guestAnswers(stream, 200, { path, size: bytes.length })
  }

  #remove(path: string, recursive: boolean, stream: TunnelStream): void {
    if (!this.entries.has(path)) this.#at(path)
    const below = this.#below(path)
    if (below.length > 0 && !recursive) throw new AppError('conflict', `cannot remove ${path}: directory not empty`)
    for (const one of [path, ...below]) this.entries.delete(one)
    guestAnswers(stream, 200, { ok: true, path })
  }

  #list(path: string, depth: number, stream: TunnelStream): void {
    if (this.#at(path).type !== 'directory') throw new AppError('not_directory', `cannot list ${path}: not a directory`)
    const root = path === '/' ? '' : path
    const entries = this.#below(path)
      .filter((one) => one.slice(root.length + 1).split('/').length <= depth)
      .map((one) => {
        const { type, bytes, mode } = this.entries.get(one) as Entry
        const name = one.slice(root.length + 1)
        return { name, type, is_dir: type === 'directory', size: bytes.length, mode, modified_at: modifiedAt }
      })
    guestAnswers(stream, 200, { path, entries, truncated: false, deeper: false })
  }

  #stat(path: string): object {
    const entry = this.entries.get(path) ?? this.#at(path)
    const { type, bytes, mode, uid, gid, target } = entry
    return {
      name: path.slice(path.lastIndexOf('/') + 1),
      path,
      size: bytes.length,
      modified_at: modifiedAt,
      is_dir: type === 'directory',
      permissions: mode.replace(/^0/, ''),
      owner: String(uid),
      group: String(gid),
      symlink_target: target,
      type,
      uid,
      gid,
      allocated: bytes.length,
    }
  }

  #mkdir({ path, mode, parents }: { path: string; mode: string; parents: boolean }, stream: TunnelStream): void {
    const parent = path.slice(0, path.lastIndexOf('/')) || '/'
    if (!parents) this.#at(parent)
    if (this.entries.has(path) && !parents) throw new AppError('conflict', `cannot make ${path}: file exists`)
    this.entries.set(path, made('directory', mode))
    guestAnswers(stream, 200, { ok: true, path })
  }

  #change(
    {
      path,
      mode,
      owner,
      group,
      recursive,
    }: Record<'path' | 'mode' | 'owner' | 'group', string> & { recursive: boolean },
    stream: TunnelStream,
  ): void {
    this.#at(path)
    for (const one of recursive ? [path, ...this.#below(path)] : [path]) {
      const entry = this.entries.get(one) as Entry
      if (mode !== undefined) entry.mode = mode
      if (owner !== undefined) entry.uid = Number(owner)
      if (group !== undefined) entry.gid = Number(group)
    }
    guestAnswers(stream, 200, { ok: true, path })
  }

  #move(
    { source, destination, overwrite }: { source: string; destination: string; overwrite: boolean },
    stream: TunnelStream,
  ): void {
    const there = this.entries.get(destination)
    if (there !== undefined && !overwrite) throw new AppError('conflict', 'cannot write: something is there')
    if (there?.type === 'directory') throw new AppError('conflict', 'cannot write: a directory is there')
    this.entries.set(destination, this.entries.get(source) as Entry)
    this.entries.delete(source)
    guestAnswers(stream, 200, { ok: true, path: destination })
  }

  #search(
    { path, pattern, literal, glob }: { path: string; pattern: string; literal: boolean; glob?: string },
    stream: TunnelStream,
  ): void {
    this.#at(path)
    let looked: RegExp
    try {
      looked = new RegExp(literal ? pattern.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&') : pattern)
    } catch {
      throw new AppError('invalid_request', 'cannot search: its pattern is malformed')
    }
    const ending = glob?.replace('*', '') ?? ''
    const matches = [path, ...this.#below(path)]
      .filter((one) => this.entries.get(one)?.type === 'file' && one.endsWith(ending))
      .flatMap((one) =>
        (this.text(one) ?? '').split('\n').flatMap((text, index) => {
          return looked.test(text) ? [{ path: one, line: index + 1, column: 1, text }] : []
        }),
      )
    guestAnswers(stream, 200, { matches, truncated: false, files_searched: this.entries.size })
  }

  /** In order of their names. */
  #below(path: string): string[] {
    const root = path === '/' ? '/' : `${path}/`
    return [...this.entries.keys()].filter((one) => one !== '/' && one.startsWith(root)).toSorted()
  }
}

function made(type: Entry['type'], mode: string): Entry {
  return { type, mode, bytes: new Uint8Array(), uid: 0, gid: 0, target: '' }
}
