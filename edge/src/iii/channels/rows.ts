/** `/iii/ws/channels/{id}?key=&dir=read|write`, also below the address with a key in it: a socket at one end of a channel. No API key is looked at, the channel's own key is the credential. */

import { AppError } from '@portico/shared/errors'
import type { Call } from '../../call.ts'
import { readAnswer } from '../../guest/wire.ts'
import { reach } from '../../platform-errors.ts'
import { none, type Row, row } from '../../routes/row.ts'
import { isAccessKey } from './access-key.ts'
import { joinChannel } from './wire.ts'

async function joinSocket({ request, env, url, parameter }: Call<'public'>): Promise<Response> {
  const channel = parameter('channel').toLowerCase()
  const key = url.searchParams.get('key') ?? ''
  const end = url.searchParams.get('dir')
  if (!(await isAccessKey(channel, key, env))) {
    throw new AppError('not_found', 'cannot join the channel: there is none with this id and key')
  }
  if (end !== 'read' && end !== 'write') {
    throw new AppError('invalid_request', 'cannot join the channel: dir must be read or write')
  }
  if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') {
    throw new AppError('invalid_request', 'cannot join the channel: send a WebSocket upgrade')
  }
  const response = await reach('join the channel', joinChannel(env, channel, end))
  return response.status === 101 ? response : await readAnswer(response)
}

const paths = ['/iii/ws/channels/:channel', '/iii/:key/ws/channels/:channel'] as const

export const channelRows: readonly Row[] = paths.map((path) =>
  row({ path, methods: ['GET'], access: 'public', needs: null, body: none, handle: joinSocket }),
)
