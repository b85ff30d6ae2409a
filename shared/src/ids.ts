/**
 * Ids: one 128-bit random number per sandbox, shown in the spelling of the surface that asks. They are made and parsed here only.
 * The id of a sandbox is unguessable, as the public URL of a port is its own credential.
 */

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** `run` and 26 characters of `[a-z2-7]`. */
export type SandboxId = Branded<'SandboxId'>
/** 26 characters of `[a-z2-7]`. */
export type AccountId = Branded<'AccountId'>
/** `runner` and 26 characters of `[a-z2-7]`. */
export type RunnerId = Branded<'RunnerId'>
/** `snap` and 26 characters of `[a-z2-7]`. */
export type SnapshotId = Branded<'SnapshotId'>
/** `cp` and 26 characters of `[a-z2-7]`. */
export type CheckpointId = Branded<'CheckpointId'>
/** `con` and 26 characters of `[a-z2-7]`: a console, or a session of a terminal or a shell. */
export type ConsoleId = Branded<'ConsoleId'>
/** `hook` and 26 characters of `[a-z2-7]`. */
export type WebhookId = Branded<'WebhookId'>
/** `img` and 26 characters of `[a-z2-7]`: an image of an account. */
export type ImageId = Branded<'ImageId'>
/** `dlv` and 26 characters of `[a-z2-7]`. */
export type DeliveryId = Branded<'DeliveryId'>
/** `req` and 26 characters of `[a-z2-7]`. */
export type RequestId = Branded<'RequestId'>

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
/** A 128-bit number in base32 has 26 digits, the last of which holds 3 bits. */
const body = '[a-z2-7]{25}[aeimquy4]'

/** Bytes as RFC 4648 base32 in lower case, without padding. */
export function base32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += alphabet[(value >>> bits) & 31]
    }
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text
}

function random(): string {
  return base32(crypto.getRandomValues(new Uint8Array(16)))
}

/** The same with the six bits by which a UUID says that it is a random one (version 4): the ids of sandboxes are shown as such, too. */
function randomAsUuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return base32(bytes)
}

function parser<Name extends string>(prefix: string): (text: string) => Branded<Name> | undefined {
  const pattern = new RegExp(`^${prefix}${body}$`)
  return (text) => (pattern.test(text) ? (text as Branded<Name>) : undefined)
}

export const newSandboxId = (): SandboxId => `run${randomAsUuid()}` as SandboxId
export const newAccountId = (): AccountId => random() as AccountId
export const newRunnerId = (): RunnerId => `runner${random()}` as RunnerId
export const newSnapshotId = (): SnapshotId => `snap${random()}` as SnapshotId
export const newCheckpointId = (): CheckpointId => `cp${random()}` as CheckpointId
export const newWebhookId = (): WebhookId => `hook${random()}` as WebhookId
export const newConsoleId = (): ConsoleId => `con${random()}` as ConsoleId
export const newImageId = (): ImageId => `img${random()}` as ImageId
export const newDeliveryId = (): DeliveryId => `dlv${random()}` as DeliveryId
export const newRequestId = (): RequestId => `req${random()}` as RequestId

/** The id, or undefined if the text is not one. */
export const parseSandboxId = parser<'SandboxId'>('run')
export const parseAccountId = parser<'AccountId'>('')
export const parseSnapshotId = parser<'SnapshotId'>('snap')
export const parseCheckpointId = parser<'CheckpointId'>('cp')
export const parseWebhookId = parser<'WebhookId'>('hook')
export const parseConsoleId = parser<'ConsoleId'>('con')
export const parseImageId = parser<'ImageId'>('img')
export const parseRunnerId = parser<'RunnerId'>('runner')

/** A sandbox's id as a UUID: the same 128 bits. */
export function uuidOf(id: SandboxId): string {
  let hex = ''
  let bits = 0
  let value = 0
  for (const digit of id.slice(3)) {
    value = ((value << 5) | alphabet.indexOf(digit)) & 0xffff
    bits += 5
    while (bits >= 4 && hex.length < 32) {
      bits -= 4
      hex += ((value >>> bits) & 15).toString(16)
    }
  }
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** The id behind a UUID of any version, in either case of letters; undefined if the text is none. */
export function sandboxIdOfUuid(text: string): SandboxId | undefined {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return undefined
  const pairs = text.replaceAll('-', '').match(/../g) ?? []
  return `run${base32(Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16)))}` as SandboxId
}

/** A region as it stands in keys and host names: `us`, `eu`, `local`, `ap1`. */
export function parseRegion(text: string): string | undefined {
  return /^[a-z][a-z0-9]{1,15}$/.test(text) ? text : undefined
}
