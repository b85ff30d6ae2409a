/**
 * What a sandbox may do when. Pure: edge and runner both ask here before they act.
 *
 *              ready                    destroy, idle
 *   creating ─────────▶ running ───────────────────────▶ destroying ──▶ destroyed
 *      │  │                │                                 ▲  ▲
 *      │  └── failed ──┐   └── failed ──┐                    │  │
 *      │               ▼                ▼        destroy     │  │
 *      │             error ◀────────────┴────────────────────┘  │
 *      └──────────────────────── destroy ───────────────────────┘
 *
 * `destroyed` is the end. `error` keeps its reason until somebody destroys it. Everything is safe to repeat.
 */

export const sandboxStates = ['creating', 'running', 'destroying', 'destroyed', 'error'] as const
export type SandboxState = (typeof sandboxStates)[number]

/** What happens to a sandbox by itself. */
export const sandboxEvents = ['ready', 'failed', 'ended'] as const
export type SandboxEvent = (typeof sandboxEvents)[number]

/** What somebody asks of a sandbox. */
export const sandboxRequests = ['use', 'update', 'destroy'] as const
export type SandboxRequest = (typeof sandboxRequests)[number]

/** `next` is the state to be in when the request is accepted; `ignored` means that it is already so. */
export type Verdict =
  | { readonly kind: 'accepted'; readonly next: SandboxState }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'denied'; readonly reason: string }

const denied = (reason: string): Verdict => ({ kind: 'denied', reason })
const stay = (next: SandboxState): Verdict => ({ kind: 'accepted', next })

/** Whether a request is allowed in a state, and where it leads. */
export function request(state: SandboxState, asked: SandboxRequest): Verdict {
  if (asked === 'destroy') return destroyVerdict(state)
  switch (state) {
    case 'running':
      return stay('running')
    case 'creating':
      return asked === 'update' ? stay('creating') : denied('it is still being created')
    case 'destroying':
    case 'destroyed':
      return denied('it is destroyed')
    case 'error':
      return denied('its virtual machine ended unexpectedly')
  }
}

function destroyVerdict(state: SandboxState): Verdict {
  switch (state) {
    case 'creating':
    case 'running':
    case 'error':
      return stay('destroying')
    case 'destroying':
    case 'destroyed':
      return { kind: 'ignored' }
  }
}

/** The state after an event; an event that comes too late changes nothing. */
export function after(state: SandboxState, event: SandboxEvent): SandboxState {
  switch (event) {
    case 'ready':
      return state === 'creating' ? 'running' : state
    case 'failed':
      return state === 'creating' || state === 'running' ? 'error' : state
    case 'ended':
      return 'destroyed'
  }
}

/** Whether nothing can happen to it any more. */
export function isFinal(state: SandboxState): boolean {
  return state === 'destroyed'
}
