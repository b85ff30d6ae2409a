/**
 * What a sandbox may do when. Pure: edge and runner both ask here before they act.
 *
 *              ready               hibernate                 saved
 *   creating ─────────▶ running ──────────────▶ hibernating ───────▶ hibernated
 *      │                 ▲  ▲ ▲                      │                 │  ▲
 *      │                 │  │ └─────── kept ─────────┘          resume │  │ kept
 *      │                 │  └── ready ── resuming ◀───────────────────┘  │
 *      │                 │                  └────────────────────────────┘
 *      │
 *   any of these ── failed ──▶ error          any of these, and error ── destroy ──▶ destroying ── ended ──▶ destroyed
 *
 *   any of these but destroyed ── lost ──▶ lost
 *
 * `kept` means that a step did not work out and nothing was lost: a sandbox that could not be saved runs on, one that could not be woken sleeps on.
 * `destroyed` is the end, and so is `lost`: the operator gave its runner up. A runner never says `lost`.
 * `error` keeps its reason until somebody destroys it. Everything is safe to repeat.
 */

export const sandboxStates = [
  'creating',
  'running',
  'hibernating',
  'hibernated',
  'resuming',
  'destroying',
  'destroyed',
  'error',
  'lost',
] as const
export type SandboxState = (typeof sandboxStates)[number]

/** What happens to a sandbox by itself. */
export const sandboxEvents = ['ready', 'saved', 'kept', 'failed', 'ended', 'lost'] as const
export type SandboxEvent = (typeof sandboxEvents)[number]

/** What somebody asks of a sandbox. `copy` is a fork or a snapshot: its state at one moment, while it runs on. */
export const sandboxRequests = ['use', 'update', 'copy', 'hibernate', 'resume', 'destroy'] as const
export type SandboxRequest = (typeof sandboxRequests)[number]

/** `next` is the state to be in when the request is accepted; `ignored` means that it is already so. */
export type Verdict =
  | { readonly kind: 'accepted'; readonly next: SandboxState }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'denied'; readonly reason: string }

const ignored: Verdict = { kind: 'ignored' }
const denied = (reason: string): Verdict => ({ kind: 'denied', reason })
const accepted = (next: SandboxState): Verdict => ({ kind: 'accepted', next })

/** Whether a request is allowed in a state, and where it leads. */
export function request(state: SandboxState, asked: SandboxRequest): Verdict {
  if (state === 'lost') return asked === 'destroy' ? ignored : denied('it was lost with its runner')
  if (asked === 'destroy') return state === 'destroying' || state === 'destroyed' ? ignored : accepted('destroying')
  if (state === 'destroying' || state === 'destroyed') return denied('it is destroyed')
  if (state === 'error') return denied('its virtual machine ended unexpectedly')
  if (asked === 'update') return accepted(state)
  switch (state) {
    case 'creating':
      return denied('it is still being created')
    case 'running':
      return asked === 'resume' ? ignored : accepted(asked === 'hibernate' ? 'hibernating' : 'running')
    case 'hibernating':
      return asked === 'hibernate' ? ignored : denied('it is being hibernated')
    case 'hibernated':
      if (asked === 'hibernate') return ignored
      return asked === 'resume' ? accepted('resuming') : denied('it is hibernated')
    case 'resuming':
      return asked === 'resume' ? ignored : denied('it is being resumed')
  }
}

/** The state after an event; an event that comes too late changes nothing. */
export function after(state: SandboxState, event: SandboxEvent): SandboxState {
  if (state === 'lost') return state
  switch (event) {
    case 'ready':
      return state === 'creating' || state === 'resuming' ? 'running' : state
    case 'saved':
      return state === 'hibernating' ? 'hibernated' : state
    case 'kept':
      if (state === 'hibernating') return 'running'
      return state === 'resuming' ? 'hibernated' : state
    case 'failed':
      return state === 'destroying' || state === 'destroyed' ? state : 'error'
    case 'ended':
      return 'destroyed'
    case 'lost':
      return state === 'destroyed' ? state : 'lost'
  }
}

/** Whether a machine exists for it or may at any moment: it holds a place on its runner and is billed. */
export function holdsMachine(state: SandboxState): boolean {
  return state === 'creating' || state === 'running' || state === 'hibernating' || state === 'resuming'
}

/** Whether nothing can happen to it any more. */
export function isFinal(state: SandboxState): boolean {
  return state === 'destroyed' || state === 'lost'
}
