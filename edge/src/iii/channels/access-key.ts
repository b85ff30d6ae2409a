/** The key of a channel: an HMAC of its id under a key derived for channels alone. So whoever makes up an id or a key is refused without asking anybody. */

import { base32 } from '@portico/shared/ids'
import { subkey } from '../../auth/subkey.ts'
import { sameText } from '../../auth/tokens.ts'
import { acceptedSecrets, type Env, signingSecret } from '../../env.ts'

const encoder = new TextEncoder()
/** By secret. Values, never promises: those belong to the request that made them. */
const keys = new Map<string, CryptoKey>()

/** What opens both ends of the channel. */
export function accessKeyOf(channel: string, env: Env): Promise<string> {
  return sign(channel, signingSecret(env))
}

/** Whether it is the channel's key, by any of the secrets that count. */
export async function isAccessKey(channel: string, given: string, env: Env): Promise<boolean> {
  if (!isChannelId(channel) || !/^[a-z2-7]{52}$/.test(given)) return false
  for (const secret of acceptedSecrets(env)) {
    if (sameText(given, await sign(channel, secret))) return true
  }
  return false
}

/** Whether the text may be a channel's id: a UUID, as `crypto.randomUUID` spells it. */
export function isChannelId(text: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)
}

async function sign(channel: string, secret: string): Promise<string> {
  let key = keys.get(secret)
  if (key === undefined) {
    key = await subkey(secret, 'portico channel 1')
    keys.set(secret, key)
  }
  return base32(new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(`channel.${channel}`))))
}
