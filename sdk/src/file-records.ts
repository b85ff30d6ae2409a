/** What the API says of files, in the SDK's spelling. */

import type { FileList, SearchResult, FileEntry as WireEntry, FileStat as WireStat } from '@portico/shared/api'
import { bytesOf } from './file-path.ts'

export type FileType = 'file' | 'directory' | 'symlink' | 'other'

/** An entry of a directory. Links are told, not followed. */
export interface FileEntry {
  /** Relative to the directory: `src/main.py` where it is deeper. */
  readonly name: string
  /** Where the name is not UTF-8. */
  readonly nameBytes?: Uint8Array
  readonly type: FileType
  readonly size: number
  /** Permission bits in octal, such as `755`. */
  readonly mode: string
  readonly modifiedAt: Date
}

/** What is in a directory, and below it. */
export interface FileTree {
  readonly entries: readonly FileEntry[]
  /** There is more, beyond the limit or below the depth. */
  readonly truncated: boolean
}

/** What is known of a file; of a link itself, not of what it points at. */
export interface FileStat {
  readonly name: string
  readonly path: string
  /** Where the path is not UTF-8. */
  readonly pathBytes?: Uint8Array
  readonly type: FileType
  readonly size: number
  /** Bytes that it takes on the disk: less than `size` where it is sparse. */
  readonly allocated: number
  /** Permission bits in octal, such as `755`. */
  readonly mode: string
  /** A name of the sandbox's `/etc/passwd`, or the number. */
  readonly owner: string
  readonly group: string
  readonly uid: number
  readonly gid: number
  readonly modifiedAt: Date
  /** What a link points at. */
  readonly symlinkTarget: string | undefined
}

/** A line that matches. */
export interface FileMatch {
  readonly path: string
  /** Where the path is not UTF-8. */
  readonly pathBytes?: Uint8Array
  /** From 1. */
  readonly line: number
  /** In bytes, from 1. */
  readonly column: number
  /** The line, at most 1,000 characters of it. */
  readonly text: string
}

/** What a search has found. */
export interface FileMatches {
  readonly matches: readonly FileMatch[]
  /** There is more: the limit of results, or 10 s, came first. */
  readonly truncated: boolean
  readonly filesSearched: number
}

/** @internal */
export function plainEntry({ modified_at, ...entry }: FileList['details'][number]): FileEntry {
  return { ...entry, modifiedAt: new Date(modified_at) }
}

/** @internal */
export function fileEntry({ name, name_base64, type, size, mode, modified_at }: WireEntry): FileEntry {
  const bytes = bytesOf(name_base64)
  return {
    name,
    ...(bytes === undefined ? {} : { nameBytes: bytes }),
    type,
    size,
    mode: mode.replace(/^0(?=[0-7]{3}$)/, ''),
    modifiedAt: new Date(modified_at),
  }
}

/** @internal */
export function fileStat(wire: WireStat): FileStat {
  return {
    name: wire.name,
    path: wire.path,
    ...pathBytes(wire.path_base64),
    type: wire.type,
    size: wire.size,
    allocated: wire.allocated,
    mode: wire.permissions,
    owner: wire.owner,
    group: wire.group,
    uid: wire.uid,
    gid: wire.gid,
    modifiedAt: new Date(wire.modified_at),
    symlinkTarget: wire.symlink_target === '' ? undefined : wire.symlink_target,
  }
}

/** @internal */
export function fileMatches({ matches, truncated, files_searched }: SearchResult): FileMatches {
  return {
    matches: matches.map(({ path_base64, ...match }) => ({ ...match, ...pathBytes(path_base64) })),
    truncated,
    filesSearched: files_searched,
  }
}

/** @internal */
export function pathBytes(base64: string | undefined): { readonly pathBytes?: Uint8Array } {
  const bytes = bytesOf(base64)
  return bytes === undefined ? {} : { pathBytes: bytes }
}
