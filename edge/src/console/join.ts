/** How the Worker hands a socket to a console's object: everything that the object has to know stands in one header. Neither key nor token goes along. */

import type { Caller } from '../ports.ts'
import type { ConsoleKind } from './state.ts'

export interface Join {
  readonly caller: Caller
  readonly run: string
  readonly kind: ConsoleKind
  readonly access: 'read' | 'write'
  /** Null is what the kind of console begins with. */
  readonly from: number | null
}

const header = 'x-portico-join'

export function joinRequest(join: Join): Request {
  return new Request('http://console/join', { headers: { upgrade: 'websocket', [header]: JSON.stringify(join) } })
}

export function readJoin(request: Request): Join {
  return JSON.parse(request.headers.get(header) ?? '') as Join
}
