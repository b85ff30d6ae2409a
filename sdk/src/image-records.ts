/** What the API says of an account's images and of how they come to be, in the SDK's spelling. */

import type { ImageRecord, ImageEvent as WireEvent } from '@portico/shared/api'
import type { PorticoError } from './errors.ts'
import { reported } from './failures.ts'

/** What programs of an image start with, as its author set it. */
export interface ImageConfig {
  readonly env: Readonly<Record<string, string>>
  readonly workdir: string
  /** Empty is root. */
  readonly user: string
  readonly entrypoint: readonly string[]
  readonly cmd: readonly string[]
}

/** An image of the account as the platform's record shows it. */
export interface ImageInfo {
  readonly id: string
  readonly kind: 'pull' | 'build'
  readonly status: 'pulling' | 'building' | 'ready' | 'failed'
  /** Why, and the code of that, where `status` is `failed`. */
  readonly reason: string | undefined
  readonly code: string | undefined
  readonly name: string | undefined
  readonly tag: string | undefined
  /** What `create({ image })` takes for it: `name:tag`, or the reference of one without a name. */
  readonly image: string
  /** With registry and tag, of a pulled one. */
  readonly reference: string | undefined
  /** With registry and digest, of a pulled one. */
  readonly resolved: string | undefined
  /** What a built one begins from, and the machine that it is of. */
  readonly from: string | undefined
  readonly vcpus: number | undefined
  readonly memMiB: number | undefined
  readonly diskMiB: number | undefined
  readonly config: ImageConfig | undefined
  readonly sizeBytes: number
  readonly createdAt: Date
  /** How long each phase took, in milliseconds. */
  readonly tookMs: Readonly<Record<string, number>>
}

/** How far an image is. A pull goes through the first four phases, a build through the others. */
export interface ImageProgress {
  readonly type: 'progress'
  readonly phase: 'resolve' | 'pull' | 'unpack' | 'erofs' | 'create' | 'files' | 'step' | 'start' | 'snapshot'
  readonly doneBytes: number | undefined
  readonly totalBytes: number | undefined
  /** Number of the step, from 1, and its command. */
  readonly step: number | undefined
  readonly command: string | undefined
}

/** What a step of a build printed. */
export interface ImageOutput {
  readonly type: 'output'
  readonly stream: 'stdout' | 'stderr'
  readonly text: string
}

/** Something that happened to an image on its way; `ready` or `failed` comes last. */
export type ImageEvent =
  | ImageProgress
  | ImageOutput
  | { readonly type: 'ready'; readonly image: ImageInfo }
  | { readonly type: 'failed'; readonly error: PorticoError }

/** @internal */
export function imageInfo(record: ImageRecord): ImageInfo {
  const { id, kind, status, reason, code, name, tag, reference, resolved, from, vcpus, config } = record
  return {
    id,
    kind,
    status,
    reason,
    code,
    name,
    tag,
    image: name === undefined ? (reference ?? id) : `${name}:${tag ?? 'latest'}`,
    reference,
    resolved,
    from,
    vcpus,
    memMiB: record.mem_mib,
    diskMiB: record.disk_mib,
    config,
    sizeBytes: record.size_bytes,
    createdAt: new Date(record.created_at),
    tookMs: record.took_ms ?? {},
  }
}

/** @internal */
export function imageEventOf(event: WireEvent): ImageEvent {
  switch (event.event) {
    case 'progress': {
      const { phase, done_bytes: doneBytes, total_bytes: totalBytes, step, command } = event
      return { type: 'progress', phase, doneBytes, totalBytes, step, command }
    }
    case 'output':
      return { type: 'output', stream: event.stream, text: event.text }
    case 'ready':
      return { type: 'ready', image: imageInfo(event.image) }
    case 'failed':
      return { type: 'failed', error: reported(event.code, event.error) }
  }
}
