/** The state of a sandbox, by word and by colour. */

import type { RunStatus } from '@portico/shared/api'

const kinds: Readonly<Record<RunStatus, 'good' | 'busy' | 'still' | 'bad'>> = {
  creating: 'busy',
  running: 'good',
  hibernating: 'busy',
  hibernated: 'still',
  resuming: 'busy',
  destroyed: 'still',
  error: 'bad',
  unreachable: 'bad',
  lost: 'bad',
}

export function State({ status }: { status: RunStatus }) {
  return <span class={`state ${kinds[status] ?? 'still'}`}>{status}</span>
}
