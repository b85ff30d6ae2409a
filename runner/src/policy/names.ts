/**
 * What the name of an image means on this runner, in this order: a preset or an alias of one, a key of `custom_images`, an OCI reference; and whether it
 * may be booted: the allowlist, then the caps. Pure: asks no registry and no disk. Without a policy there are presets and aliases alone.
 */

import { AppError } from '@portico/shared/errors'
import { resolveImage } from '../assets.ts'
import { formatReference, isMoving, isReference, parseReference } from '../image/reference.ts'
import { everything, matches, type Spelled, spell } from './pattern.ts'
import type { Policy, Reserved } from './policy.ts'

/** An image of a registry, whole. */
export interface FromRegistry {
  readonly kind: 'registry'
  /** Its key in `custom_images`, if it was named by that. */
  readonly custom?: string
  readonly reference: string
  readonly spelled: Spelled
  /** It has a digest: its name is the image itself. */
  readonly pinned: boolean
  /** Its tag names another image tomorrow, as far as the name tells. */
  readonly moving: boolean
}

export type Meaning = { readonly kind: 'preset'; readonly preset: string } | FromRegistry

/** Under which further names the same image is known here. */
export interface Known {
  readonly references: readonly string[]
  /** Keys of `custom_images`. */
  readonly custom: readonly string[]
}

const unknown: Known = { references: [], custom: [] }

/** What a machine asks for. */
export interface Asked {
  readonly vcpus: number
  readonly memoryMib: number
}

/** Throws `image_unknown` for what cannot be an image. */
export function meaningOf(name: string, { presets, aliases }: Reserved, policy: Policy | undefined): Meaning {
  const preset = resolveImage(name, presets, aliases)
  if (preset !== undefined) return { kind: 'preset', preset }
  const custom = policy?.custom_images
  if (custom && Object.hasOwn(custom, name)) return fromRegistry(custom[name] ?? '', name)
  if (!policy || !isReference(name))
    throw new AppError('image_unknown', `cannot use the image: there is no image ${name}`)
  return fromRegistry(name)
}

/** Whether the policy lets anybody boot it. What it is known by stands for its digest alone: a tag may mean something else at the next pull. */
export function isAllowed(name: string, meaning: Meaning, policy: Policy | undefined, known: Known = unknown): boolean {
  if (!policy) return meaning.kind === 'preset'
  const listed = new Set(policy.image_allowlist)
  if (listed.has(everything)) return true
  if (meaning.kind === 'preset') return listed.has(name) || listed.has(meaning.preset)
  // Presence among the custom images is no permission, and neither is that of what its name leads to.
  if (meaning.custom !== undefined) return listed.has(meaning.custom)
  const { references, custom } = meaning.pinned ? known : unknown
  if (custom.some((key) => listed.has(key))) return true
  const spellings = [meaning.spelled, ...references.map(spelledOf)]
  return policy.image_allowlist.some((entry) => spellings.some((spelled) => matches(entry, spelled)))
}

/** Throws `image_not_allowed` unless it may be booted. */
export function mustBeAllowed(...asked: Parameters<typeof isAllowed>): void {
  if (isAllowed(...asked)) return
  throw new AppError('image_not_allowed', `cannot use the image: ${asked[0]} is not on the allowlist`)
}

/** Throws `image_cap_exceeded` where more is asked for than the image may have by any of its names. */
export function mustFitCaps(
  name: string,
  meaning: Meaning,
  { vcpus, memoryMib }: Asked,
  policy: Policy | undefined,
  known: Known = unknown,
): void {
  for (const [key, cap] of Object.entries(policy?.per_image_caps ?? {})) {
    if (!isMeant(key, name, meaning, known)) continue
    const { max_cpus: maxCpus = vcpus, max_memory_mb: maxMemory = memoryMib } = cap
    if (vcpus > maxCpus) throw overCap(`cpus=${vcpus} exceeds per-image cap ${maxCpus}`)
    if (memoryMib > maxMemory) throw overCap(`memory_mb=${memoryMib} exceeds per-image cap ${maxMemory}`)
  }
}

/** A reference of a caller's must mean the same image tomorrow. */
export function mustNotMove(name: string, meaning: Meaning): void {
  if (meaning.kind !== 'registry' || meaning.custom !== undefined || !meaning.moving) return
  const why = 'its tag moves: name one that stays, such as alpine:3.20, or a digest'
  throw new AppError('invalid_request', `cannot use the image ${name}: ${why}`)
}

/** A name that the edge may give, too: a preset's names, and keys that are allowed. */
export function catalogOf({ presets }: Reserved, policy: Policy) {
  const allowed = (name: string) => isAllowed(name, meaningOf(name, { presets, aliases: {} }, policy), policy)
  const custom = Object.entries(policy.custom_images).filter(([name]) => allowed(name))
  return [
    ...presets.filter(allowed).map((name) => ({ name, oci_ref: name, kind: 'preset' as const })),
    ...custom.map(([name, reference]) => ({ name, oci_ref: reference, kind: 'custom' as const })),
  ]
}

function isMeant(key: string, name: string, meaning: Meaning, { references, custom }: Known): boolean {
  if (key === everything || key === name) return true
  if (meaning.kind === 'preset') return key === meaning.preset
  if (custom.includes(key)) return true
  const spellings = [meaning.spelled, tagOf(meaning.reference), ...references.map(spelledOf)]
  return spellings.some((spelled) => matches(key, spelled))
}

/** A tag beside a digest allows nothing, but binds whoever says it. */
function tagOf(text: string): Spelled {
  const { registry, repository, tag } = parseReference(text)
  return spell({ registry, repository, ...(tag === undefined ? {} : { tag }) })
}

function spelledOf(text: string): Spelled {
  return spell(parseReference(text))
}

function overCap(why: string): AppError {
  return new AppError('image_cap_exceeded', `cannot create the sandbox: ${why}`)
}

function fromRegistry(text: string, custom?: string): FromRegistry {
  const reference = parseReference(text)
  return {
    kind: 'registry',
    ...(custom === undefined ? {} : { custom }),
    reference: formatReference(reference),
    spelled: spell(reference),
    pinned: reference.digest !== undefined,
    moving: isMoving(reference),
  }
}
