/** What the edge asks of a runner about the inside of a sandbox: its checkpoints, and images for its containers. None of it changes which sandboxes the runner has. */

import type { Clock } from '@portico/shared/clock'
import type {
  CallOutcome,
  Checkpoint,
  CheckpointInput,
  CheckpointMade,
  CheckpointRestored,
  GuestImage,
} from '../ports.ts'
import { ask } from '../tunnel/ask.ts'
import type { Session } from '../tunnel/sessions.ts'

/** Which sandbox a call is about. */
interface Target {
  readonly sandbox: string
  readonly generation: number
}

export class InsideCalls {
  readonly #session: () => Session | undefined
  readonly #clock: Clock

  constructor(session: () => Session | undefined, clock: Clock) {
    this.#session = session
    this.#clock = clock
  }

  async createCheckpoint(
    target: Target,
    { id, name, wait, createdAt }: CheckpointInput & { readonly createdAt: string },
  ): Promise<CallOutcome<CheckpointMade>> {
    const asked = { ...target, checkpoint: id, name, created_at: createdAt, wait }
    return mapped(await this.#ask('checkpoint.create', asked), ({ size_bytes, copy_ms, pause_ms, ready }) => ({
      createdAt,
      sizeBytes: size_bytes,
      copyMs: copy_ms,
      pauseMs: pause_ms,
      ready,
    }))
  }

  async checkpoints(target: Target): Promise<CallOutcome<readonly Checkpoint[]>> {
    return mapped(await this.#ask('checkpoint.list', target), ({ checkpoints }) =>
      checkpoints.map(({ id, name, created_at, size_bytes, ready }) => ({
        id,
        name,
        createdAt: created_at,
        sizeBytes: size_bytes,
        ready,
      })),
    )
  }

  async waitForCheckpoint(target: Target, id: string): Promise<CallOutcome<number>> {
    return mapped(await this.#ask('checkpoint.wait', { ...target, checkpoint: id }), ({ size_bytes }) => size_bytes)
  }

  async restoreCheckpoint(target: Target, id: string): Promise<CallOutcome<CheckpointRestored>> {
    return mapped(
      await this.#ask('checkpoint.restore', { ...target, checkpoint: id }),
      ({ restore_ms, started, stopped, failed }) => ({ restoreMs: restore_ms, started, stopped, failed }),
    )
  }

  async deleteCheckpoint(target: Target, id: string): Promise<CallOutcome<null>> {
    return mapped(await this.#ask('checkpoint.delete', { ...target, checkpoint: id }), () => null)
  }

  async bringImage(target: Target, image: string): Promise<CallOutcome<GuestImage>> {
    return mapped(await this.#ask('guest.image', { ...target, image }), ({ digest, env, workdir }) => ({
      digest,
      env,
      workdir,
    }))
  }

  #ask<Name extends Parameters<typeof ask>[1]>(
    op: Name,
    call: Parameters<typeof ask<Name>>[2],
  ): ReturnType<typeof ask<Name>> {
    return ask<Name>(this.#session(), op, call, this.#clock)
  }
}

function mapped<From, To>(answer: CallOutcome<From>, to: (value: From) => To): CallOutcome<To> {
  return answer.ok ? { ok: true, value: to(answer.value) } : answer
}
