/** Files of the wire server's sandboxes: a flat list of paths. An archive that was put somewhere is what is got from there. */

import { createHash } from 'node:crypto'
import {
  chmodRequest,
  chownRequest,
  copyRequest,
  type FileEntry,
  type FileStat,
  mkdirRequest,
  moveRequest,
  type SearchResult,
  searchRequest,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { type Answer, bytes, json } from './wire-answer.ts'
import { parse, type SeenRequest } from './wire-request.ts'
import type { StoredFile, StoredSandbox } from './wire-saved.ts'

const modified_at = '2026-01-02T03:04:05.000Z'
const nothing = Buffer.alloc(0)

type Files = Map<string, StoredFile>

export function files({ files: all }: StoredSandbox, verb: string | undefined, seen: SeenRequest): Answer {
  if (seen.method === 'POST' && verb !== 'upload')
    return verb === 'search' ? search(all, seen) : change(all, verb, seen)
  const path = pathOf(seen.query.get('path'), seen.query.get('path_base64'))
  if (seen.method === 'DELETE') return removed(all, path, seen.query.get('recursive') === 'true')
  switch (verb) {
    case 'upload': {
      const { query, body } = seen
      const owner = query.get('owner')
      all.set(path, { bytes: body, mode: query.get('mode') ?? '644', ...(owner === null ? {} : { owner }) })
      return json(200, { path, size: body.length })
    }
    case 'download':
      return download(found(all, path, 'read'), seen)
    case 'archive':
      if (seen.method === 'GET') return bytes(200, packed(all, path))
      if (!all.has(path)) all.set(path, { bytes: nothing, mode: '755', isDirectory: true })
      all.set(`tar:${path}`, { bytes: seen.body, mode: '644' })
      return json(200, { ok: true, path, entries: 1, bytes: seen.body.length })
    case 'stat':
      return json(200, stat(found(all, path, 'look at'), path))
    case 'exists': {
      const file = all.get(path)
      return json(200, file === undefined ? { exists: false } : { exists: true, entry_type: typeOf(file) })
    }
    case 'list':
      return tree(all, path, seen)
  }
  const entries = below(all, path, 1).map(({ is_dir: _, ...entry }) => entry)
  return json(200, { path, entries: entries.map(({ name }) => name), details: entries })
}

/** The path that a query or a body names. */
function pathOf(path: string | null | undefined, base64: string | null | undefined): string {
  const text = typeof base64 === 'string' ? Buffer.from(base64, 'base64').toString('latin1') : (path ?? '')
  if (!text.startsWith('/')) throw new AppError('invalid_path', `cannot use the path ${text}`)
  return text
}

function found(all: Files, path: string, doing: string): StoredFile {
  const file = all.get(path)
  if (!file) throw new AppError('file_not_found', `cannot ${doing} ${path.replace(/^tar:/, '')}: no such file`)
  return file
}

/** An empty tar of what is there, unless one was put there. */
function packed(all: Files, path: string): Buffer {
  const isThere = [...all.keys()].some((name) => name.startsWith(`${path}/`))
  return isThere && !all.has(`tar:${path}`) ? Buffer.alloc(1024) : found(all, `tar:${path}`, 'pack').bytes
}

function download({ bytes: whole }: StoredFile, { headers }: SeenRequest): Answer {
  const etag = `"${createHash('sha256').update(whole).digest('hex').slice(0, 16)}"`
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
  const isSame = headers['if-range'] === undefined || headers['if-range'] === etag
  if (from === 0 || !isSame) return bytes(200, whole, { etag })
  const range = `bytes ${from}-${whole.length - 1}/${whole.length}`
  return bytes(206, whole.subarray(from), { etag, 'content-range': range })
}

function change(all: Files, verb: string | undefined, seen: SeenRequest): Answer {
  switch (verb) {
    case 'mkdir': {
      const { path: text, path_base64, parents, mode = '755' } = parse(mkdirRequest, seen)
      const path = pathOf(text, path_base64)
      if (all.has(path) && !parents) throw new AppError('conflict', `cannot make ${path}: it is there already`)
      all.set(path, { bytes: nothing, mode, isDirectory: true })
      return done(path)
    }
    case 'chmod': {
      const { path: text, path_base64, mode } = parse(chmodRequest, seen)
      const path = pathOf(text, path_base64)
      all.set(path, { ...found(all, path, 'set the mode of'), mode })
      return done(path)
    }
    case 'chown': {
      const { path: text, path_base64, owner } = parse(chownRequest, seen)
      const path = pathOf(text, path_base64)
      all.set(path, { ...found(all, path, 'set the owner of'), ...(owner === undefined ? {} : { owner }) })
      return done(path)
    }
    case 'move':
      return carried(all, parse(moveRequest, seen), false)
    case 'copy':
      return carried(all, parse(copyRequest, seen), true)
  }
  throw new AppError('not_found', `cannot find ${seen.path}`)
}

function carried(all: Files, asked: ReturnType<typeof moveRequest.parse>, keeps: boolean): Answer {
  const source = pathOf(asked.source, asked.source_base64)
  const destination = pathOf(asked.destination, asked.destination_base64)
  if (all.has(destination) && !asked.overwrite)
    throw new AppError('conflict', `cannot use ${destination}: it is there already`)
  all.set(destination, found(all, source, 'read'))
  if (!keeps) all.delete(source)
  return done(destination)
}

function removed(all: Files, path: string, recursive: boolean): Answer {
  const inside = [...all.keys()].filter((name) => name.startsWith(`${path}/`))
  if (!all.has(path) && inside.length === 0) throw new AppError('file_not_found', `cannot remove ${path}: no such file`)
  if (inside.length > 0 && !recursive) throw new AppError('conflict', `cannot remove ${path}: it is not empty`)
  for (const name of [path, ...inside]) all.delete(name)
  return done(path)
}

function done(path: string): Answer {
  return json(200, { ok: true, path })
}

function tree(all: Files, path: string, { query }: SeenRequest): Answer {
  const depth = Number(query.get('depth') ?? 1)
  const limit = Number(query.get('limit') ?? 10_000)
  const entries = below(all, path, depth)
  const deeper = below(all, path, Number.POSITIVE_INFINITY).length > entries.length
  return json(200, { path, entries: entries.slice(0, limit), truncated: deeper || entries.length > limit })
}

function below(all: Files, path: string, depth: number): FileEntry[] {
  const folder = path.endsWith('/') ? path : `${path}/`
  return [...all]
    .filter(([name]) => name.startsWith(folder) && name.slice(folder.length).split('/').length <= depth)
    .map(([name, file]) => ({
      name: name.slice(folder.length),
      type: typeOf(file),
      is_dir: file.isDirectory === true,
      size: file.bytes.length,
      mode: file.mode,
      modified_at,
    }))
}

function typeOf(file: StoredFile): FileEntry['type'] {
  return file.isDirectory ? 'directory' : 'file'
}

function stat(file: StoredFile, path: string): FileStat {
  return {
    name: path.split('/').at(-1) ?? '',
    path,
    size: file.bytes.length,
    modified_at,
    is_dir: file.isDirectory === true,
    permissions: file.mode,
    owner: file.owner ?? 'root',
    group: 'root',
    symlink_target: '',
    type: typeOf(file),
    uid: 0,
    gid: 0,
    allocated: 4096,
  }
}

function search(all: Files, seen: SeenRequest): Answer {
  const { path: text, path_base64, pattern, literal, max_results } = parse(searchRequest, seen)
  const path = pathOf(text, path_base64)
  const fits = (line: string) => (literal ? line.indexOf(pattern) : line.search(pattern))
  const searched = [...all].filter(([name]) => name === path || name.startsWith(`${path}/`))
  const matches = searched.flatMap(([name, file]) =>
    file.bytes
      .toString()
      .split('\n')
      .map((line, index) => ({ path: name, line: index + 1, column: fits(line) + 1, text: line }))
      .filter(({ column }) => column > 0),
  )
  const truncated = matches.length > max_results
  const result: SearchResult = { matches: matches.slice(0, max_results), truncated, files_searched: searched.length }
  return json(200, result)
}
