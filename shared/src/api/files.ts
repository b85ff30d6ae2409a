/**
 * `/v1/runs/{id}/files…`. A path is absolute and UTF-8; one that is not UTF-8 is given as `path_base64` (in a body also `source_base64`,
 * `destination_base64`) in place of `path`, and is told that way, too.
 */

import { z } from 'zod'

/** `GET /v1/runs/{id}/files?path=`: names alone, as documented; `details` says more about each, in the same order. */
export const fileList = z.object({
  path: z.string(),
  entries: z.array(z.string()),
  details: z.array(
    z.object({
      name: z.string(),
      type: z.enum(['file', 'directory', 'symlink', 'other']),
      size: z.number(),
      mode: z.string(),
      modified_at: z.string(),
    }),
  ),
})
export type FileList = z.infer<typeof fileList>

/** `POST /v1/runs/{id}/files/upload?path=` */
export const uploadResponse = z.object({ path: z.string(), size: z.number() })
export type UploadResponse = z.infer<typeof uploadResponse>

const entryType = z.enum(['file', 'directory', 'symlink', 'other'])

/** A path as a caller names it: exactly one of the two. */
const named = { path: z.string().optional(), path_base64: z.string().optional() }
const fromTo = {
  source: z.string().optional(),
  source_base64: z.string().optional(),
  destination: z.string().optional(),
  destination_base64: z.string().optional(),
}
/** Octal digits, such as `755`. */
const mode = z.string().regex(/^0?[0-7]{3,4}$/, 'three or four octal digits, such as 755')

/** One entry of a listing. `name` is relative to the listed directory: `src/main.py` where the depth is more than 1. Links are told, not followed. */
export const fileEntry = z.object({
  name: z.string(),
  /** Where the name is not UTF-8; `name` has U+FFFD for what cannot be shown. */
  name_base64: z.string().optional(),
  is_dir: z.boolean(),
  size: z.number(),
  type: entryType,
  /** Four octal digits. */
  mode: z.string(),
  modified_at: z.string(),
})
export type FileEntry = z.infer<typeof fileEntry>

/** `GET …/files/list?path=&depth=1&limit=10000`. Truncated: there is more than is told, beyond the limit or below the depth. */
export const fileTree = z.object({ path: z.string(), entries: z.array(fileEntry), truncated: z.boolean() })
export type FileTree = z.infer<typeof fileTree>

/** `GET …/files/stat?path=`: of a link itself, not of what it points at. */
export const fileStat = z.object({
  name: z.string(),
  path: z.string(),
  path_base64: z.string().optional(),
  size: z.number(),
  /** RFC 3339. */
  modified_at: z.string(),
  is_dir: z.boolean(),
  /** Octal without a leading zero, such as `755`. */
  permissions: z.string(),
  /** A name of the sandbox's /etc/passwd, or the number. */
  owner: z.string(),
  group: z.string(),
  /** Empty unless it is a link. */
  symlink_target: z.string(),
  type: entryType,
  uid: z.int(),
  gid: z.int(),
  /** Bytes that it takes on the disk: less than `size` where it is sparse. */
  allocated: z.number(),
})
export type FileStat = z.infer<typeof fileStat>

/** `GET …/files/exists?path=`: also false where a directory above it is missing. A link exists, wherever it points. */
export const fileExists = z.object({ exists: z.boolean(), entry_type: entryType.optional() })
export type FileExists = z.infer<typeof fileExists>

/** `POST …/files/mkdir`. With `parents`, one that is there already is fine, else it is a conflict. */
export const mkdirRequest = z.object({ ...named, parents: z.boolean().default(false), mode: mode.optional() })
export type MkdirRequest = z.input<typeof mkdirRequest>

/** `POST …/files/move`: also across file systems. A file or link at the destination is replaced unless told; a directory is not. Parents are made. */
export const moveRequest = z.object({ ...fromTo, overwrite: z.boolean().default(true) })
export type MoveRequest = z.input<typeof moveRequest>

/** `POST …/files/copy`: mode, owner, times and holes are kept, links are copied as links; a directory needs `recursive`. */
export const copyRequest = z.object({
  ...fromTo,
  recursive: z.boolean().default(false),
  overwrite: z.boolean().default(true),
})
export type CopyRequest = z.input<typeof copyRequest>

/** `POST …/files/chmod` */
export const chmodRequest = z.object({ ...named, mode, recursive: z.boolean().default(false) })
export type ChmodRequest = z.input<typeof chmodRequest>

/** `POST …/files/chown`: names of the sandbox or numbers; at least one of the two. Of a link itself. */
export const chownRequest = z.object({
  ...named,
  owner: z.string().min(1).optional(),
  group: z.string().min(1).optional(),
  recursive: z.boolean().default(false),
})
export type ChownRequest = z.input<typeof chownRequest>

/** What `DELETE …/files?path=&recursive=true`, mkdir, move, copy, chmod and chown answer. */
export const fileDone = z.object({ ok: z.literal(true), path: z.string() })
export type FileDone = z.infer<typeof fileDone>

/** `PUT …/files/archive?path=`: the body is a tar (plain or gzip), laid into the directory, which is made. Nothing is written outside of it. */
export const archiveUnpacked = z.object({ ok: z.literal(true), path: z.string(), entries: z.int(), bytes: z.number() })
export type ArchiveUnpacked = z.infer<typeof archiveUnpacked>

/** `POST …/files/search`: lines of the files below a directory (or of one file) that match. Binary files are left out. */
export const searchRequest = z.object({
  ...named,
  /** A regular expression (RE2), or plain text with `literal`. */
  pattern: z.string().min(1).max(4096),
  literal: z.boolean().default(false),
  ignore_case: z.boolean().default(false),
  /** Only files whose name matches, such as `*.py`. */
  glob: z.string().min(1).max(256).optional(),
  max_results: z.int().min(1).max(10_000).default(1000),
  /** Larger files are left out. */
  max_file_bytes: z.int().min(1).max(1_073_741_824).default(16_777_216),
})
export type SearchRequest = z.input<typeof searchRequest>

export const searchResult = z.object({
  matches: z.array(
    z.object({
      path: z.string(),
      path_base64: z.string().optional(),
      /** From 1. */
      line: z.int(),
      /** In bytes, from 1. */
      column: z.int(),
      /** The line, at most 1,000 characters of it. */
      text: z.string(),
    }),
  ),
  /** There is more than is told: the results' limit, or 10 s, came first. */
  truncated: z.boolean(),
  files_searched: z.int(),
})
export type SearchResult = z.infer<typeof searchResult>

/**
 * One line of the agent's `GET /files/watch?path=&recursive=true` (NDJSON), the data of an event of `GET …/files/watch` as SSE (whose event name is
 * `type`), or a text message of its WebSocket. `ready` comes first, once: what happens after it is told. `overflow`: events were lost, look again.
 */
export const watchEvent = z.object({
  type: z.enum(['ready', 'create', 'modify', 'attributes', 'delete', 'move', 'overflow', 'heartbeat']),
  path: z.string().optional(),
  path_base64: z.string().optional(),
  is_dir: z.boolean().optional(),
  /** Of a move inside of what is watched: where it went. A move out is a delete, one in a create. */
  to: z.string().optional(),
  to_base64: z.string().optional(),
})
export type WatchEvent = z.infer<typeof watchEvent>
