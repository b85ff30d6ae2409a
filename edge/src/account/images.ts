/**
 * An account's images as its object keeps them. Which of them is ready, and what it is made of, its own object says; which name leads to
 * which of them is decided here: the last one that became ready has it.
 *
 *   a pull has its name, or, without one, the reference that was asked for and the whole one
 *   a pull whose name was taken over goes by its reference; where that leads to another already, it is forgotten
 *   a build whose name was taken over is forgotten, and its snapshot removed
 */

import type { AccountLimits, ImageRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { parseImageId } from '@portico/shared/ids'
import type { ImageEntry, OwnImage } from '../ports.ts'
import type { ImageTable } from '../store/images.ts'
import type { MachineTable } from '../store/machines.ts'
import type { SnapshotTable } from '../store/snapshots.ts'
import { assertSnapshotRoom } from './quotas.ts'

export const mostImages = 100
/** Being pulled or built at once. */
export const mostBusy = 4

export interface ImageTables {
  readonly images: ImageTable
  readonly snapshots: SnapshotTable
  readonly machines: MachineTable
}

/** What there is to do after a change, outside of the account. */
export interface Dropped {
  /** Images that the account has forgotten. */
  readonly images: readonly string[]
}

/** Notes an image that is about to be made. A full account forgets the oldest one that failed first. */
export function beginImage(tables: ImageTables, limits: AccountLimits, entry: ImageEntry, now: number): Dropped {
  const { images, snapshots, machines } = tables
  if (images.get(entry.id) !== undefined) return { images: [] }
  const action = entry.record.kind === 'build' ? 'build the image' : 'pull the image'
  const refuse = (limit: string) =>
    new AppError('quota_exceeded', `cannot ${action}: the account's limit ${limit} is reached`)
  const { images: count, busy } = images.counts()
  if (busy >= mostBusy) throw refuse(`images under way = ${mostBusy}`)
  if (entry.record.kind === 'build') {
    assertSnapshotRoom(machines, snapshots, limits, '', now, { action, replaces: replacesBuild(images, entry) })
  }
  const oldest = count >= mostImages ? images.oldestFailed() : undefined
  if (count >= mostImages && oldest === undefined) throw refuse(`images = ${mostImages}`)
  if (oldest !== undefined) images.remove(oldest)
  images.put(entry)
  return { images: oldest === undefined ? [] : [oldest] }
}

/** Whether the snapshot of this build takes the place of another's, whose name it has. */
export function replacesBuild(images: ImageTable, { id, region, record }: ImageEntry): boolean {
  const [name] = record.name === undefined ? [] : namesOf(record, null)
  const former = name === undefined ? undefined : images.named(region, name)
  return former !== undefined && former !== id && (images.get(former)?.snapshot ?? null) !== null
}

/** Takes what became of an image. Undefined if the account has it no more: then nothing is left of it here. */
export function tellImage(tables: ImageTables, entry: ImageEntry): Dropped | undefined {
  const { images, snapshots } = tables
  const known = images.get(entry.id)
  if (known === undefined || entry.record.status === 'failed') snapshots.release(entry.id)
  if (known === undefined) return undefined
  if (entry.version <= known.version) return { images: [] }
  images.put(entry)
  return { images: entry.record.status === 'ready' ? takeNames(tables, entry) : [] }
}

/** Its names lead to it; answers those that lost theirs and are forgotten. */
function takeNames(tables: ImageTables, { id, region, record, asked }: ImageEntry): string[] {
  const { images } = tables
  const before = new Set<string>()
  for (const name of namesOf(record, asked)) {
    const former = images.named(region, name)
    if (former !== undefined && former !== id) before.add(former)
    images.name(region, name, id)
  }
  return [...before].filter((former) => !images.hasName(former) && !staysWithoutName(tables, former))
}

function staysWithoutName(tables: ImageTables, id: string): boolean {
  const { images } = tables
  const entry = images.get(id)
  if (entry?.record.kind === 'pull') {
    const { name: _name, tag: _tag, ...record } = entry.record
    for (const name of namesOf(record, entry.asked)) images.nameIfFree(entry.region, name, id)
    if (images.hasName(id)) {
      images.put({ ...entry, record })
      return true
    }
  }
  forget(tables, id)
  return false
}

function forget({ images, snapshots }: ImageTables, id: string): void {
  images.remove(id)
  snapshots.release(id)
}

/** The account's image of this region, by its id or a name that leads to it. */
export function findImage(images: ImageTable | undefined, region: string, named: string): ImageEntry {
  const id = parseImageId(named) ?? images?.named(region, keyOf(named))
  const found = id === undefined ? undefined : images?.get(id)
  if (found === undefined || found.region !== region) {
    throw new AppError('image_not_found', 'cannot find the image: the account has none of this id or name')
  }
  return found
}

/** Forgets it and has what it is made of removed. */
export function deleteImage(tables: ImageTables, region: string, named: string): ImageRecord {
  const { id, record } = findImage(tables.images, region, named)
  forget(tables, id)
  return record
}

/** What a sandbox is made of whose creator wrote this; undefined where it is no ready image of the account. */
export function ownImage({ images, snapshots }: ImageTables, region: string, written: string): OwnImage | undefined {
  const id = parseImageId(written) ?? images.named(region, keyOf(written))
  const found = id === undefined ? undefined : images.get(id)
  if (found === undefined || found.region !== region || found.record.status !== 'ready') return undefined
  const { resolved } = found.record
  if (resolved !== undefined) return { kind: 'pull', boots: resolved }
  const snapshot = found.snapshot === null ? undefined : snapshots.get(found.snapshot)
  return snapshot === undefined ? undefined : { kind: 'build', snapshot }
}

function namesOf({ name, tag, reference }: ImageRecord, asked: string | null): string[] {
  if (name !== undefined) return [`${name}:${tag ?? usualTag}`]
  const references = [asked, reference].flatMap((one) => (one == null ? [] : [keyOf(one)]))
  return [...new Set(references)]
}

export const usualTag = 'latest'

/** A bare name means its usual tag. */
function keyOf(written: string): string {
  return /[:/@]/.test(written) ? written : `${written}:${usualTag}`
}
