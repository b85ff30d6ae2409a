/** Files of a sandbox. Paths are absolute, and may be bytes where they are no UTF-8. */

import {
  archiveUnpacked,
  fileDone,
  fileExists,
  fileList,
  fileStat as fileStatBody,
  fileTree,
  searchResult,
  uploadResponse,
} from '@portico/shared/api'
import { download } from './download.ts'
import { type FileChange, fileChanges } from './file-changes.ts'
import { type FilePath, named, octal, pathQuery, shown } from './file-path.ts'
import {
  type FileEntry,
  type FileMatches,
  type FileStat,
  type FileTree,
  fileEntry,
  fileMatches,
  fileStat,
  plainEntry,
} from './file-records.ts'
import { shortMs, treeMs, uploadMs } from './limits.ts'
import type { Transport } from './transport.ts'
import { type FileContent, upload } from './upload.ts'

export interface FileOptions {
  readonly signal?: AbortSignal | undefined
}

export interface WriteOptions extends FileOptions {
  /** Permission bits, such as `0o755`; 0o644 unless told. */
  readonly mode?: number | undefined
  /** A user of the sandbox, by name or number; root unless told. */
  readonly owner?: string | undefined
  readonly group?: string | undefined
}

export interface ReadOptions extends FileOptions {
  /** The offset of the first byte that is wanted; 0 unless told. */
  readonly from?: number | undefined
}

export interface ListFilesOptions extends FileOptions {
  /** How many levels are told; 1 unless told. */
  readonly depth?: number | undefined
  /** How many entries are told; 10,000 unless told. */
  readonly limit?: number | undefined
}

export interface MkdirOptions extends FileOptions {
  /** Makes those above, too; one that is there already is fine. */
  readonly parents?: boolean | undefined
  /** Permission bits; 0o755 unless told. */
  readonly mode?: number | undefined
}

export interface MoveOptions extends FileOptions {
  /** Replaces a file or link at the destination, as it does unless told otherwise; a directory is never replaced. */
  readonly overwrite?: boolean | undefined
}

export interface CopyOptions extends MoveOptions {
  /** A directory is copied only with it. */
  readonly recursive?: boolean | undefined
}

export interface RecursiveOptions extends FileOptions {
  /** All that is below a directory, too. */
  readonly recursive?: boolean | undefined
}

export interface OwnerOptions extends RecursiveOptions {
  /** A user of the sandbox, by name or number. */
  readonly owner?: string | undefined
  readonly group?: string | undefined
}

export interface SearchOptions extends FileOptions {
  /** The pattern is plain text and no regular expression. */
  readonly literal?: boolean | undefined
  readonly ignoreCase?: boolean | undefined
  /** Only files whose name matches, such as `*.py`. */
  readonly glob?: string | undefined
  /** 1,000 unless told, 10,000 at most. */
  readonly maxResults?: number | undefined
  /** Larger files are left out; 16 MiB unless told. */
  readonly maxFileBytes?: number | undefined
}

/** A file as it was written. */
export interface WrittenFile {
  readonly path: string
  readonly size: number
}

/** What came out of an archive. */
export interface UnpackedArchive {
  readonly entries: number
  readonly bytes: number
}

export class SandboxFiles {
  readonly #transport: Transport
  readonly #path: string

  /** @internal Made by Sandbox alone. */
  constructor(transport: Transport, sandboxPath: string) {
    this.#transport = transport
    this.#path = `${sandboxPath}/files`
  }

  /** Writes a file, replacing what was there in one step; makes the directories above it. A stream is sent as it is read. */
  async write(path: FilePath, content: FileContent, options: WriteOptions = {}): Promise<WrittenFile> {
    const { mode, owner, group, signal } = options
    const query = pathQuery(path, { mode: octal(mode), owner, group })
    const doing = `write ${shown(path)}`
    const call = { method: 'POST', path: `${this.#path}/upload?${query}`, doing, limitMs: uploadMs } as const
    return await upload(doing, content, (bytes) => this.#transport.json({ ...call, bytes, signal }, uploadResponse))
  }

  /** The whole file. */
  async read(path: FilePath, options: FileOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await new Response(await this.stream(path, options)).arrayBuffer())
  }

  /** The whole file as UTF-8 text. */
  async readText(path: FilePath, options: FileOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.read(path, options))
  }

  /**
   * The file as it arrives, from an offset on. Read it to its end or cancel it. A connection that breaks is made again and the reading goes on where it
   * stood; if the file has changed meanwhile, it fails with a ConflictError.
   */
  async stream(path: FilePath, options: ReadOptions = {}): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const { from = 0, signal } = options
    const call = { method: 'GET', path: `${this.#path}/download?${pathQuery(path)}`, limitMs: shortMs } as const
    const doing = `read ${shown(path)}`
    return await download(this.#transport, { ...call, doing, repeatable: true, signal }, from)
  }

  /** What is in a directory, and with `depth` below it: at most 10,000 entries then, or `limit`. `tree` tells whether there are more. */
  async list(path: FilePath, options: ListFilesOptions = {}): Promise<FileEntry[]> {
    const { depth, limit, signal } = options
    if (depth !== undefined || limit !== undefined) return [...(await this.tree(path, options)).entries]
    const call = {
      method: 'GET',
      path: `${this.#path}?${pathQuery(path)}`,
      limitMs: shortMs,
      repeatable: true,
    } as const
    const { details } = await this.#transport.json({ ...call, doing: `list ${shown(path)}`, signal }, fileList)
    return details.map(plainEntry)
  }

  /** What is in a directory and so many levels below it, and whether there is more. */
  async tree(path: FilePath, options: ListFilesOptions = {}): Promise<FileTree> {
    const { depth, limit, signal } = options
    const query = pathQuery(path, { depth: depth?.toString(), limit: limit?.toString() })
    const call = { method: 'GET', path: `${this.#path}/list?${query}`, limitMs: shortMs, repeatable: true } as const
    const told = await this.#transport.json({ ...call, doing: `list ${shown(path)}`, signal }, fileTree)
    return { entries: told.entries.map(fileEntry), truncated: told.truncated }
  }

  /** What is known of a file; of a link itself. A NotFoundError says that there is none. */
  async stat(path: FilePath, { signal }: FileOptions = {}): Promise<FileStat> {
    const call = { method: 'GET', path: `${this.#path}/stat?${pathQuery(path)}`, limitMs: shortMs } as const
    const doing = `look at ${shown(path)}`
    return fileStat(await this.#transport.json({ ...call, doing, repeatable: true, signal }, fileStatBody))
  }

  /** Whether there is something of this name, also a link that leads nowhere. */
  async exists(path: FilePath, { signal }: FileOptions = {}): Promise<boolean> {
    const call = { method: 'GET', path: `${this.#path}/exists?${pathQuery(path)}`, limitMs: shortMs } as const
    const doing = `look for ${shown(path)}`
    return (await this.#transport.json({ ...call, doing, repeatable: true, signal }, fileExists)).exists
  }

  /** Makes a directory. */
  async mkdir(path: FilePath, { parents, mode, signal }: MkdirOptions = {}): Promise<void> {
    const json = { ...named('path', path), parents, mode: octal(mode) }
    await this.#change('mkdir', `make the directory ${shown(path)}`, json, signal)
  }

  /** Moves or renames, also to another file system; makes the directories above the destination. */
  async move(source: FilePath, destination: FilePath, { overwrite, signal }: MoveOptions = {}): Promise<void> {
    const json = { ...named('source', source), ...named('destination', destination), overwrite }
    await this.#change('move', `move ${shown(source)}`, json, signal)
  }

  /** Copies with mode, owner, times and holes; links stay links. */
  async copy(source: FilePath, destination: FilePath, options: CopyOptions = {}): Promise<void> {
    const { recursive, overwrite, signal } = options
    const json = { ...named('source', source), ...named('destination', destination), recursive, overwrite }
    await this.#change('copy', `copy ${shown(source)}`, json, signal)
  }

  /** Removes a file, a link, or a directory: an empty one, or with `recursive` all of it. */
  async remove(path: FilePath, { recursive, signal }: RecursiveOptions = {}): Promise<void> {
    const query = pathQuery(path, { recursive: recursive ? 'true' : undefined })
    const call = { method: 'DELETE', path: `${this.#path}?${query}`, doing: `remove ${shown(path)}` } as const
    await this.#transport.json({ ...call, limitMs: treeMs, signal }, fileDone)
  }

  /** Sets permission bits, such as `0o755`. */
  async chmod(path: FilePath, mode: number, { recursive, signal }: RecursiveOptions = {}): Promise<void> {
    const json = { ...named('path', path), mode: octal(mode), recursive }
    await this.#change('chmod', `set the mode of ${shown(path)}`, json, signal)
  }

  /** Gives a file to a user, a group, or both; of a link itself. */
  async chown(path: FilePath, { owner, group, recursive, signal }: OwnerOptions): Promise<void> {
    const json = { ...named('path', path), owner, group, recursive }
    await this.#change('chown', `set the owner of ${shown(path)}`, json, signal)
  }

  /**
   * What happens to a file, in a directory, or with `recursive` below it: `ready` first, then each change as it comes, until the signal ends it. A
   * connection that breaks is made again, and what was missed told as `overflow`.
   */
  watch(path: FilePath, { recursive, signal }: RecursiveOptions = {}): AsyncIterable<FileChange> {
    const query = pathQuery(path, { recursive: recursive ? 'true' : undefined })
    const route = `${this.#path}/watch?${query}`
    return { [Symbol.asyncIterator]: () => fileChanges(this.#transport, route, `watch ${shown(path)}`, signal) }
  }

  /** Lines that match a regular expression (RE2) in the text files below a directory, or in one file. */
  async search(path: FilePath, pattern: string, options: SearchOptions = {}): Promise<FileMatches> {
    const { literal, ignoreCase, glob, maxResults, maxFileBytes, signal } = options
    const json = {
      ...named('path', path),
      pattern,
      literal,
      ignore_case: ignoreCase,
      glob,
      max_results: maxResults,
      max_file_bytes: maxFileBytes,
    }
    const call = { method: 'POST', path: `${this.#path}/search`, doing: `search ${shown(path)}`, json } as const
    return fileMatches(
      await this.#transport.json({ ...call, limitMs: shortMs, repeatable: true, signal }, searchResult),
    )
  }

  /** A directory as a tar that arrives as it is made, names relative to it; of a file a tar of it. Read it to its end or cancel it. */
  async archive(path: FilePath, { signal }: FileOptions = {}): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const call = { method: 'GET', path: `${this.#path}/archive?${pathQuery(path)}`, limitMs: shortMs } as const
    return await this.#transport.stream({ ...call, doing: `pack ${shown(path)}`, repeatable: true, signal })
  }

  /** Lays a tar, plain or gzip, into a directory, which is made. Nothing is written outside of it. */
  async unpack(path: FilePath, tar: FileContent, { signal }: FileOptions = {}): Promise<UnpackedArchive> {
    const doing = `unpack into ${shown(path)}`
    const call = { method: 'PUT', path: `${this.#path}/archive?${pathQuery(path)}`, doing, limitMs: uploadMs } as const
    const send = { ...call, signal }
    const { entries, bytes } = await upload(doing, tar, (body) =>
      this.#transport.json({ ...send, bytes: body }, archiveUnpacked),
    )
    return { entries, bytes }
  }

  async #change(verb: string, doing: string, json: object, signal: AbortSignal | undefined): Promise<void> {
    const call = { method: 'POST', path: `${this.#path}/${verb}`, doing, limitMs: treeMs } as const
    await this.#transport.json({ ...call, json, signal }, fileDone)
  }
}
