/**
 * What the clients of a chaos run know for certain: which sandboxes and snapshots were acknowledged, what was written into them, and what nobody answered. Pure.
 *
 * Every command writes a token of its own into a file of its sandbox. A token whose command was acknowledged must be there exactly once, one that was
 * not at most once, and nothing else may be there. Copies have what their original had.
 */

import type { Sandbox } from '@portico/sdk'

/** One command. */
export interface Token {
  readonly text: string
  readonly acknowledged: boolean
}

export interface Client {
  readonly name: string
  readonly region: string
}

export interface ModelSandbox<Who extends Client = Client> {
  readonly handle: Sandbox
  readonly client: Who
  readonly tokens: Token[]
  /** As last acknowledged; `unsure` after a call without an answer. */
  state: 'running' | 'hibernated' | 'unsure'
  /** `perhaps` after a destroy without an answer. */
  exists: 'yes' | 'perhaps' | 'no'
  /** An operation is under way: nobody else touches it. */
  busy: boolean
}

export interface ModelSnapshot<Who extends Client = Client> {
  readonly id: string
  readonly client: Who
  readonly tokens: readonly Token[]
  exists: 'yes' | 'perhaps' | 'no'
  busy: boolean
}

/** A creating call without an answer: at most so many sandboxes may have come of it. */
export interface Unsettled {
  readonly client: Client
  /** The label of a create or restore; the parent of a fork. */
  readonly mark: string
  left: number
}

/** What a list says of a sandbox that the model does not know. */
export interface Stranger {
  readonly id: string
  readonly labels: Readonly<Record<string, string>>
  readonly forked_from?: string | undefined
}

export class Model<Who extends Client = Client> {
  readonly sandboxes = new Map<string, ModelSandbox<Who>>()
  readonly snapshots = new Map<string, ModelSnapshot<Who>>()
  readonly #unsettled: Unsettled[] = []
  /** Sandboxes that unanswered calls made, with the call that each is put down to. */
  readonly #explained = new Map<string, Unsettled>()
  /** Snapshots that nobody answered for. */
  unsettledSnapshots = 0
  #making = 0

  /** How many sandboxes are known or being made. What calls without an answer made is not counted: the runners' room bounds that. */
  get count(): number {
    return this.#making + [...this.sandboxes.values()].filter(({ exists }) => exists !== 'no').length
  }

  /** Those that nobody works on. */
  idle(states: readonly ModelSandbox['state'][]): ModelSandbox<Who>[] {
    return [...this.sandboxes.values()].filter(
      ({ busy, exists, state }) => !busy && exists === 'yes' && states.includes(state),
    )
  }

  /** Runs a call that makes up to so many sandboxes; without an answer, that many may have come of it. */
  async making<Value>(client: Client, mark: string, count: number, run: () => Promise<Value>): Promise<Value> {
    this.#making += count
    try {
      return await run()
    } catch (error) {
      this.#unsettled.push({ client, mark, left: count })
      throw error
    } finally {
      this.#making -= count
    }
  }

  /** An acknowledged sandbox. Answers false if there was one with this id before. */
  add(handle: Sandbox, client: Who, tokens: readonly Token[]): boolean {
    const isNew = !this.sandboxes.has(handle.id) && !this.#explained.has(handle.id)
    this.sandboxes.set(handle.id, { handle, client, tokens: [...tokens], state: 'running', exists: 'yes', busy: false })
    return isNew
  }

  addSnapshot(id: string, client: Who, tokens: readonly Token[]): void {
    this.snapshots.set(id, { id, client, tokens: [...tokens], exists: 'yes', busy: false })
  }

  /** Whether a call without an answer explains a sandbox; each explains no more than it asked for. */
  explains(client: Client, { id, labels, forked_from }: Stranger): boolean {
    if (this.#explained.has(id)) return true
    const mark = forked_from ?? labels.chaos
    const call = this.#unsettled.find((one) => one.left > 0 && one.client === client && one.mark === mark)
    if (call === undefined) return false
    call.left -= 1
    this.#explained.set(id, call)
    return true
  }
}

/** What is wrong with a sandbox's file of tokens, one sentence each. */
export function judgeLog(tokens: readonly Token[], text: string): string[] {
  const lines = text.split('\n').filter((line) => line !== '')
  const counts = new Map<string, number>()
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1)
  const known = new Set(tokens.map((token) => token.text))
  const wrong: string[] = []
  for (const [line, count] of counts) {
    if (!known.has(line)) wrong.push(`${line} is there and was never sent to it`)
    else if (count > 1) wrong.push(`${line} ran ${count} times`)
  }
  const acknowledged = tokens.filter((token) => token.acknowledged).map((token) => token.text)
  for (const one of acknowledged) if (!counts.has(one)) wrong.push(`${one} was acknowledged and is not there`)
  const sure = new Set(acknowledged)
  const order = [...new Set(lines)].filter((line) => sure.has(line))
  const asSent = acknowledged.filter((one) => counts.has(one))
  if (order.join() !== asSent.join()) wrong.push(`the order is ${order.join(' ')} and was ${asSent.join(' ')}`)
  return wrong
}

/** Those that are there more than once. */
export function twice(ids: readonly string[]): string[] {
  return [...new Set(ids.filter((one, index) => ids.indexOf(one) !== index))]
}
