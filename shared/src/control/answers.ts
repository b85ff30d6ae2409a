/** Answer heads. */

import { z } from 'zod'
import { usage } from '../usage.ts'
import { headerList } from './from-edge.ts'
import { runnerImage } from './images.ts'

const failed = z.object({ ok: z.literal(false), error: z.object({ code: z.string(), message: z.string() }) })

function answer<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.discriminatedUnion('ok', [z.object({ ok: z.literal(true), ...shape }), failed])
}

/** One schema per op of an edge's call. */
export const answers = {
  'sandbox.create': answer({ resolved_image: z.string(), create_ms: z.number() }),
  'sandbox.update': answer({}),
  'sandbox.destroy': answer({ usage }),
  'sandbox.stats': answer({ usage }),
  /** One entry per child, in the order asked; a child that failed does not undo the others. `pause_ms`: how long the parent stood still. */
  'sandbox.fork': answer({
    resolved_image: z.string(),
    pause_ms: z.number(),
    children: z.array(
      z.object({
        sandbox: z.string(),
        create_ms: z.number().optional(),
        error: z.object({ code: z.string(), message: z.string() }).optional(),
      }),
    ),
  }),
  'sandbox.snapshot': answer({ size_bytes: z.number() }),
  'sandbox.restore': answer({ resolved_image: z.string(), create_ms: z.number() }),
  'sandbox.hibernate': answer({ usage }),
  'sandbox.resume': answer({ resume_ms: z.number() }),
  'snapshot.delete': answer({}),
  /** `size_bytes`: beyond the checkpoint before it. `pause_ms`: how long the guest's writers stood still. */
  'checkpoint.create': answer({
    size_bytes: z.number(),
    copy_ms: z.number(),
    pause_ms: z.number(),
    ready: z.boolean(),
  }),
  'checkpoint.list': answer({
    checkpoints: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        created_at: z.string(),
        size_bytes: z.number(),
        ready: z.boolean(),
      }),
    ),
  }),
  'checkpoint.wait': answer({ size_bytes: z.number() }),
  'checkpoint.restore': answer({
    restore_ms: z.number(),
    started: z.array(z.string()),
    stopped: z.array(z.string()),
    failed: z.array(z.string()),
  }),
  'checkpoint.delete': answer({}),
  /** What a container of it starts with. */
  'guest.image': answer({ digest: z.string(), env: z.record(z.string(), z.string()), workdir: z.string() }),
  'image.pull': answer({}),
  'image.list': answer({ images: z.array(runnerImage) }),
  'image.remove': answer({}),
  'guest.request': answer({ status: z.int().min(200).max(599), headers: z.record(z.string(), z.string()) }),
  /** The server's own answer; `ok: false` is ours. */
  'port.request': answer({ status: z.int().min(200).max(999), headers: headerList }),
  /** With 101 `protocol` is what the server chose, or null. */
  'port.socket': answer({ status: z.int().min(101).max(999), headers: headerList, protocol: z.string().nullable() }),
} as const

/** What the edge answers to a runner's call. */
export const acknowledged = answer({})
