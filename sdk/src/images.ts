/**
 * Images: the names that can be booted, and the account's own. Those are pulled from a registry, or built by steps in a sandbox. Each call that makes one waits
 * until it is ready; who stops waiting (its signal, the client's end, a listener that throws) has it deleted in the background, which ends the work.
 */

import { imageList, imageRecord } from '@portico/shared/api'
import { later } from './background.ts'
import { CallScope } from './call-scope.ts'
import type { Creations } from './creations.ts'
import { NotFoundError, PorticoError } from './errors.ts'
import { base64, octal } from './file-path.ts'
import { imageEvents } from './image-events.ts'
import { type ImageEvent, type ImageInfo, type ImageOutput, type ImageProgress, imageInfo } from './image-records.ts'
import { shortMs } from './limits.ts'
import { invalid, type MakeOptions } from './options.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** Who is told meanwhile. While a promise that a listener answers is pending, nothing more is told. */
export interface ImageListeners {
  readonly onProgress?: ((progress: ImageProgress) => unknown) | undefined
}

export interface PullImageOptions extends MakeOptions, ImageListeners {
  /** What the account calls it: `name` or `name:tag`. Without one it goes by its reference. */
  readonly name?: string | undefined
  readonly tag?: string | undefined
}

/** A command of a build, run by the shell. */
export interface BuildStep {
  readonly run: string
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly workdir?: string | undefined
  readonly user?: string | undefined
  /** 600 unless told. */
  readonly timeoutSec?: number | undefined
}

/** A file that is in the sandbox before the first step. */
export interface BuildFile {
  readonly path: string
  readonly content: string | Uint8Array
  /** Such as 0o755. */
  readonly mode?: number | undefined
}

export interface BuildImageOptions extends MakeOptions, ImageListeners {
  /** What the account calls it: `name` or `name:tag`. */
  readonly name: string
  readonly tag?: string | undefined
  /** The image that it begins from; `python` unless told. */
  readonly from?: string | undefined
  /** In their order; a string is a command alone. */
  readonly steps?: readonly (string | BuildStep)[] | undefined
  /** Variables of every step, and of every command in sandboxes of the image. */
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly files?: readonly BuildFile[] | undefined
  readonly vcpus?: number | undefined
  readonly memMiB?: number | undefined
  readonly diskMiB?: number | undefined
  /** A command that is started after the steps and goes on in each sandbox of the image. */
  readonly start?: string | undefined
  /** The image is ready once something listens there. */
  readonly readyPort?: number | undefined
  /** What the steps print. */
  readonly onOutput?: ((output: ImageOutput) => unknown) | undefined
}

/** `portico.images()` tells the names that can be booted; its methods are about the account's own images. */
export interface Images {
  /** The names of the images that the key's region can boot now. */
  (options?: CallOptions): Promise<string[]>
  /** The account's own, newest first. */
  list(options?: CallOptions): Promise<ImageInfo[]>
  /** One of them by its id, `name` or `name:tag`; null if there is none (any more). */
  get(idOrName: string, options?: CallOptions): Promise<ImageInfo | null>
  /** Has what a registry calls `reference` brought to the region, and waits until it can be booted. */
  pull(reference: string, options?: PullImageOptions): Promise<ImageInfo>
  /** Runs steps in a sandbox and keeps it as it is then, processes included: sandboxes of the image go on from that moment. */
  build(options: BuildImageOptions): Promise<ImageInfo>
  /** Forgets an image; one that is under way is cancelled. Sandboxes of it stay. A NotFoundError says that it was gone already. */
  delete(idOrName: string, options?: CallOptions): Promise<void>
  /** What happened to it from the first, then what happens, until it is ready or has failed. */
  events(idOrName: string, options?: CallOptions): AsyncIterable<ImageEvent>
}

/** @internal */
export function imagesOf(transport: Transport, creations: Creations): Images {
  const { names, ...methods } = calls(transport, creations)
  return Object.assign(names, methods)
}

function calls(transport: Transport, creations: Creations) {
  const listing = { method: 'GET', path: '/v1/images', doing: 'list the images', limitMs: shortMs } as const
  return {
    async names({ signal }: CallOptions = {}): Promise<string[]> {
      const schema = imageList.pick({ images: true })
      return (await transport.json({ ...listing, repeatable: true, signal }, schema)).images
    },

    async list({ signal }: CallOptions = {}): Promise<ImageInfo[]> {
      const { own } = await transport.json({ ...listing, repeatable: true, signal }, imageList)
      return own.map(imageInfo)
    },

    async get(idOrName: string, { signal }: CallOptions = {}): Promise<ImageInfo | null> {
      if (!isName.test(idOrName)) return null
      const call = { method: 'GET', path: pathOf(idOrName), doing: 'look up the image', limitMs: shortMs } as const
      try {
        return imageInfo(await transport.json({ ...call, repeatable: true, signal }, imageRecord))
      } catch (error) {
        if (error instanceof NotFoundError) return null
        throw error
      }
    },

    async pull(reference: string, options: PullImageOptions = {}): Promise<ImageInfo> {
      const json = { reference, ...named(options.name, options.tag) }
      return await make(transport, creations, 'pull the image', json, options)
    },

    async build(options: BuildImageOptions): Promise<ImageInfo> {
      return await make(transport, creations, 'build the image', buildBody(options), options)
    },

    async delete(idOrName: string, { signal }: CallOptions = {}): Promise<void> {
      await remove(transport, idOrName, signal)
    },

    events(idOrName: string, { signal }: CallOptions = {}): AsyncIterable<ImageEvent> {
      return imageEvents(transport, pathOf(idOrName), signal)
    },
  }
}

interface Making extends MakeOptions, ImageListeners {
  readonly onOutput?: ((output: ImageOutput) => unknown) | undefined
}

/** An id, `name` or `name:tag`; nothing that a path is read by. */
const isName = /^\w[\w.:-]*$/

async function make(
  transport: Transport,
  creations: Creations,
  doing: string,
  json: object,
  { signal, idempotencyKey, onProgress, onOutput }: Making,
): Promise<ImageInfo> {
  const undo = (id: string) => remove(transport, id, undefined, true)
  const call = { method: 'POST', path: '/v1/images', doing, limitMs: shortMs, json, idempotencyKey, signal } as const
  const { id } = await creations.make(call, imageRecord, (record) => undo(record.id))
  const scope = new CallScope(doing, signal, transport.closed)
  try {
    for await (const event of imageEvents(transport, pathOf(id), scope.signal)) {
      if (event.type === 'ready') return event.image
      if (event.type === 'failed') throw event.error
      if (event.type === 'progress') await onProgress?.(event)
      else await onOutput?.(event)
      scope.signal.throwIfAborted()
    }
    throw new Error('the events of an image end with how it ended')
  } catch (error) {
    const isUnwanted = scope.signal.aborted || !(error instanceof PorticoError)
    // Under a key of the caller's own it stays: the same call with the same key tells what came of it.
    if (isUnwanted && idempotencyKey === undefined) later(creations.background, undo(id))
    throw error
  } finally {
    scope.end()
  }
}

async function remove(transport: Transport, image: string, signal?: AbortSignal, detached = false): Promise<void> {
  const call = { method: 'DELETE', path: pathOf(image), doing: 'delete the image', limitMs: shortMs } as const
  await transport.nothing({ ...call, repeatable: true, signal, detached })
}

function pathOf(image: string): string {
  if (!isName.test(image)) throw invalid(`cannot find an image called ${image}`, 'Give its id, name or name:tag.')
  return `/v1/images/${encodeURIComponent(image)}`
}

/** `name:tag` as the wire has it, in two. */
function named(name: string | undefined, tag: string | undefined): { name?: string; tag?: string | undefined } {
  if (name === undefined) return tag === undefined ? {} : { tag }
  const [first = '', ...rest] = name.split(':')
  return { name: first, tag: tag ?? (rest.length === 0 ? undefined : rest.join(':')) }
}

function buildBody({
  name,
  tag,
  from,
  steps,
  env,
  files,
  vcpus,
  memMiB,
  diskMiB,
  start,
  readyPort,
}: BuildImageOptions) {
  return {
    ...named(name, tag),
    from,
    steps: steps?.map(stepBody),
    env,
    files: files?.map(fileBody),
    vcpus,
    mem_mib: memMiB,
    disk_mib: diskMiB,
    start,
    ready_port: readyPort,
  }
}

function stepBody(step: string | BuildStep) {
  if (typeof step === 'string') return step
  const { run, env, workdir, user, timeoutSec } = step
  return { run, env, workdir, user, timeout: timeoutSec }
}

function fileBody({ path, content, mode }: BuildFile) {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  return { path, content: base64(bytes), mode: octal(mode) }
}
