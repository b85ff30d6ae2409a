/** Makes a channel for whoever invokes a function, and names an end of it as the client takes it. */

import { unwrap } from '../../outcome.ts'
import { reach } from '../../platform-errors.ts'
import type { InvocationContext } from '../context.ts'
import { accessKeyOf } from './access-key.ts'
import { channelPort, type End, type FileSource } from './wire.ts'

/** An end of a channel as it stands in payloads and results. Who has it may use it: the key is the credential. */
export interface ChannelRef {
  readonly channel_id: string
  readonly access_key: string
  readonly direction: End
}

/** A new channel; with a source, one whose reader gets what is in the file. It is forgotten if no one joins it. */
export async function makeChannel({ env, principal }: InvocationContext, source: FileSource | null = null) {
  const channel_id = crypto.randomUUID()
  const { account, region } = principal
  unwrap(await reach('open a channel', channelPort(env, channel_id).open({ account, region }, source)))
  const access_key = await accessKeyOf(channel_id, env)
  return (direction: End): ChannelRef => ({ channel_id, access_key, direction })
}
