/** An image as its own object keeps it, and what can be read off it. Pure. */

import type { ImageRecord, ImageRequest } from '@portico/shared/api'
import { usualTag } from '../account/images.ts'
import type { Caller, ImageEntry, NewImage } from '../ports.ts'

/** `pending`: its account was not asked for it yet, so nobody knows of it. */
export type ImageStatus = 'pending' | ImageRecord['status']

export interface ImageState extends Caller {
  readonly id: string
  readonly status: ImageStatus
  readonly kind: ImageRecord['kind']
  readonly createdAt: number
  readonly reason: string | null
  readonly code: string | null
  /** What its owner is shown and what does not change: names, what it is made from. */
  readonly about: Pick<ImageRecord, 'name' | 'tag' | 'from' | 'vcpus' | 'mem_mib' | 'disk_mib'>
  /** What was asked for, where it is pulled. */
  readonly asked: string | null
  /** Once it is ready. */
  readonly made: Made | null
  /** The sandbox that it is built in; null before and after. */
  readonly sandbox: string | null
  /** Rises with each change that its account is to hear of; `told` is the last that it has heard of. */
  readonly version: number
  readonly told: number
  /** Whether its last event was told. */
  readonly closed: boolean
}

/** What came of it. */
export interface Made {
  readonly facts: Pick<ImageRecord, 'reference' | 'resolved' | 'config' | 'took_ms' | 'vcpus' | 'mem_mib' | 'disk_mib'>
  readonly sizeBytes: number
  readonly snapshot: string | null
}

export function newImage({ image, account, region, request }: NewImage, now: number): ImageState {
  return {
    ...{ id: image, account, region, status: 'pending', createdAt: now, reason: null, code: null, made: null },
    ...{ kind: isPullRequest(request) ? 'pull' : 'build', sandbox: null, version: 1, told: 0, closed: false },
    about: aboutOf(request),
    asked: isPullRequest(request) ? request.reference : null,
  }
}

export function isPullRequest(request: ImageRequest): request is Extract<ImageRequest, { reference: string }> {
  return 'reference' in request
}

function aboutOf(request: ImageRequest): ImageState['about'] {
  const { name, tag = usualTag } = request
  const named = name === undefined ? {} : { name, tag }
  if (isPullRequest(request)) return named
  const { from, vcpus, mem_mib, disk_mib } = request
  return { ...named, from, vcpus, mem_mib, disk_mib }
}

/** The image as the API shows it. One that nobody knows of yet is shown as being made. */
export function publicImage(state: ImageState): ImageRecord {
  const { id, kind, status, reason, code, about, asked, made, createdAt } = state
  const underWay = kind === 'pull' ? 'pulling' : 'building'
  return {
    ...{ id, kind, status: status === 'pending' ? underWay : status },
    ...(status === 'failed' && reason !== null ? { reason } : {}),
    ...(status === 'failed' && code !== null ? { code } : {}),
    ...about,
    ...(asked === null ? {} : { reference: asked }),
    ...made?.facts,
    size_bytes: made?.sizeBytes ?? 0,
    created_at: new Date(createdAt).toISOString(),
  }
}

/** What the account's index gets. */
export function imageEntry(state: ImageState): ImageEntry {
  const { id, region, version, createdAt, asked, made } = state
  return { id, region, version, record: publicImage(state), createdAt, asked, snapshot: made?.snapshot ?? null }
}

export function isUnderWay({ status }: ImageState): boolean {
  return status === 'pending' || status === 'pulling' || status === 'building'
}

/** Whether something is still to be told or cleaned up. */
export function isUnfinished({ told, version, closed, sandbox }: ImageState): boolean {
  return told < version || !closed || sandbox !== null
}

/** How often the object looks whether its work is still there, which keeps it awake as well. */
const lookMs = 20_000
const retryMs = 5_000

/** When the object must look by itself; undefined when there is nothing to wait for. */
export function nextLook(state: ImageState, now: number): number | undefined {
  if (isUnderWay(state)) return now + lookMs
  return isUnfinished(state) ? now + retryMs : undefined
}
