/** The edge's calls on checkpoints, and their answers. */

import type { answers, EdgeCall } from '@portico/shared/control'
import type { z } from 'zod'
import type { Engine } from '../engine.ts'

type CheckpointCall = Extract<EdgeCall, { op: `checkpoint.${string}` }>
type Calls = Pick<Engine, 'checkpoint' | 'checkpoints' | 'waitForCheckpoint' | 'restoreCheckpoint' | 'deleteCheckpoint'>
type Accepted<Op extends keyof typeof answers> = Omit<Extract<z.infer<(typeof answers)[Op]>, { ok: true }>, 'ok'>

export async function checkpointCall(engine: Calls, call: CheckpointCall): Promise<object> {
  const { sandbox, generation } = call
  switch (call.op) {
    case 'checkpoint.create': {
      const { checkpoint, name, created_at: createdAt, wait } = call
      const made = await engine.checkpoint(sandbox, generation, { checkpoint, name, createdAt, wait })
      const { sizeBytes, copyMs, pauseMs, ready } = made
      return {
        size_bytes: sizeBytes,
        copy_ms: copyMs,
        pause_ms: pauseMs,
        ready,
      } satisfies Accepted<'checkpoint.create'>
    }
    case 'checkpoint.list': {
      const all = await engine.checkpoints(sandbox, generation)
      const checkpoints = all.map(({ checkpoint: id, name, createdAt, sizeBytes, ready }) => ({
        id,
        name,
        created_at: createdAt,
        size_bytes: sizeBytes,
        ready,
      }))
      return { checkpoints } satisfies Accepted<'checkpoint.list'>
    }
    case 'checkpoint.wait': {
      const { sizeBytes } = await engine.waitForCheckpoint(sandbox, generation, call.checkpoint)
      return { size_bytes: sizeBytes } satisfies Accepted<'checkpoint.wait'>
    }
    case 'checkpoint.restore': {
      const { restoreMs, started, stopped, failed } = await engine.restoreCheckpoint(
        sandbox,
        generation,
        call.checkpoint,
      )
      return {
        restore_ms: restoreMs,
        started: [...started],
        stopped: [...stopped],
        failed: [...failed],
      } satisfies Accepted<'checkpoint.restore'>
    }
    case 'checkpoint.delete':
      await engine.deleteCheckpoint(sandbox, generation, call.checkpoint)
      return {} satisfies Accepted<'checkpoint.delete'>
  }
}
