/** What a runner's word of a sandbox's state makes of the state on record. Pure; the lifecycle's own moves, as many as it takes. */

import { after, request, type SandboxRequest, type SandboxState } from '@portico/shared/lifecycle'

/** The state after a runner has told that the sandbox is in `told` now. */
export function stateAfterNews(state: SandboxState, told: SandboxState): SandboxState {
  switch (told) {
    case 'hibernating':
      return moved(state, 'hibernate')
    case 'resuming':
      return moved(state, 'resume')
    case 'hibernated':
      return after(after(moved(state, 'hibernate'), 'saved'), 'kept')
    case 'running':
      return after(after(moved(state, 'resume'), 'ready'), 'kept')
    default:
      return state
  }
}

function moved(state: SandboxState, asked: SandboxRequest): SandboxState {
  const verdict = request(state, asked)
  return verdict.kind === 'accepted' ? verdict.next : state
}
