/**
 * The edge's calls: each stream's head is checked, run on the engine and answered once. What goes wrong becomes the answer's error, or RESET where the
 * answer was given already; nothing thrown here reaches the connection.
 */

import { type answers, type EdgeCall, edgeCall, type PullProgress } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { abortError, answer, parseHead, refuse, resetOnAbort, type TunnelStream } from '@portico/shared/tunnel'
import type { z } from 'zod'
import type { Engine, Forked } from '../engine.ts'
import { maxRequestMs } from '../guest/limits.ts'
import { type Logger, logged } from '../log.ts'
import { type Operation, Operations } from '../metrics/operations.ts'
import type { RequestCall } from '../port/http.ts'
import type { SocketCall } from '../port/socket.ts'
import { checkpointCall } from './checkpoint-calls.ts'
import { imageCall, imagePull } from './image-calls.ts'
import { portCall } from './port-calls.ts'

type Calls = Omit<Engine, 'close' | 'drain' | 'onChange' | 'onWarm' | 'status'>
type GuestCall = Extract<EdgeCall, { op: 'guest.request' }>
type PlainCall = Exclude<EdgeCall, GuestCall | RequestCall | SocketCall | { op: 'image.pull' }>
type Accepted<Op extends keyof typeof answers> = Omit<Extract<z.infer<(typeof answers)[Op]>, { ok: true }>, 'ok'>

/** What the tunnel does with a stream that the edge opened. */
export function edgeHandler(
  engine: Calls,
  log: Logger,
  operations = new Operations(),
): (stream: TunnelStream, head: Uint8Array) => void {
  return (stream, head) => void handle(engine, log, operations, stream, head)
}

async function handle(
  engine: Calls,
  log: Logger,
  operations: Operations,
  stream: TunnelStream,
  head: Uint8Array,
): Promise<void> {
  try {
    const call = parseHead(head, edgeCall)
    if (call.op === 'guest.request') return await guestRequest(engine, log, operations, stream, call)
    if (call.op === 'port.request' || call.op === 'port.socket') return await portCall(engine, log, stream, call)
    if (call.op === 'image.pull') return await pullWatched(operations, () => imagePull(engine, stream, call))
    answer(stream, await watched(operations, call, () => run(engine, call)))
    stream.end()
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (error.code === 'internal') log.error({ error: thrown }, 'tunnel.call')
    // A stream that was answered, or is over, takes no second answer.
    attempt(() => refuse(stream, error.toWire()))
  }
}

/** What is counted and traced; anything else is neither. */
const watchedAs: Partial<Record<PlainCall['op'], Operation>> = {
  'sandbox.create': 'create',
  'sandbox.restore': 'restore',
  'sandbox.fork': 'fork',
  'sandbox.snapshot': 'snapshot',
  'sandbox.hibernate': 'hibernate',
  'sandbox.resume': 'resume',
  'sandbox.destroy': 'destroy',
}

async function watched(operations: Operations, call: PlainCall, run: () => Promise<object>): Promise<object> {
  const operation = watchedAs[call.op]
  if (operation === undefined) return await run()
  const trace = 'trace' in call ? call.trace : undefined
  const image = 'spec' in call ? call.spec.image : undefined
  const sandbox = 'sandbox' in call ? call.sandbox : undefined
  return await operations.run(operation, trace, { 'portico.sandbox.id': sandbox, 'portico.image': image }, run)
}

/** A pull that fails is told on its stream, and throws nothing. */
async function pullWatched(operations: Operations, run: () => Promise<PullProgress>): Promise<void> {
  await operations.run('image_pull', undefined, {}, async (span) => {
    const last = await run()
    if (last.event === 'error') span.fail(AppError.fromWire(last.error))
  })
}

async function run(engine: Calls, call: PlainCall): Promise<object> {
  switch (call.op) {
    case 'checkpoint.create':
    case 'checkpoint.list':
    case 'checkpoint.wait':
    case 'checkpoint.restore':
    case 'checkpoint.delete':
      return await checkpointCall(engine, call)
    case 'image.list':
    case 'image.remove':
      return await imageCall(engine, call)
    case 'sandbox.create': {
      const { resolvedImage, createMs } = await engine.create(call.sandbox, call.generation, call.spec)
      return { resolved_image: resolvedImage, create_ms: createMs } satisfies Accepted<'sandbox.create'>
    }
    case 'sandbox.restore': {
      const { resolvedImage, createMs } = await engine.restore(call.sandbox, call.generation, call.snapshot, call.spec)
      return { resolved_image: resolvedImage, create_ms: createMs } satisfies Accepted<'sandbox.restore'>
    }
    case 'sandbox.fork':
      return forkAnswer(await engine.fork(call.sandbox, call.generation, call.children))
    case 'sandbox.snapshot': {
      const { sizeBytes } = await engine.snapshot(call.sandbox, call.generation, call.snapshot)
      return { size_bytes: sizeBytes } satisfies Accepted<'sandbox.snapshot'>
    }
    case 'snapshot.delete':
      await engine.deleteSnapshot(call.snapshot)
      return {} satisfies Accepted<'snapshot.delete'>
    case 'sandbox.hibernate':
      return { usage: await engine.hibernate(call.sandbox, call.generation) } satisfies Accepted<'sandbox.hibernate'>
    case 'sandbox.resume': {
      const { resumeMs } = await engine.resume(call.sandbox, call.generation)
      return { resume_ms: resumeMs } satisfies Accepted<'sandbox.resume'>
    }
    case 'sandbox.update':
      await engine.update(call.sandbox, call.generation, call.idle_timeout)
      return {} satisfies Accepted<'sandbox.update'>
    case 'guest.image': {
      const { digest, env, workdir } = await engine.bringImage(call.sandbox, call.generation, call.image)
      return { digest, env: { ...env }, workdir } satisfies Accepted<'guest.image'>
    }
    case 'sandbox.destroy':
      return { usage: await engine.destroy(call.sandbox, call.generation) } satisfies Accepted<'sandbox.destroy'>
    case 'sandbox.stats':
      return { usage: await engine.stats(call.sandbox, call.generation) } satisfies Accepted<'sandbox.stats'>
  }
}

function forkAnswer({ resolvedImage, pauseMs, children }: Forked): Accepted<'sandbox.fork'> {
  return {
    resolved_image: resolvedImage,
    pause_ms: pauseMs,
    children: children.map(({ sandbox, createMs, error }) => ({
      sandbox,
      ...(createMs === undefined ? {} : { create_ms: createMs }),
      ...(error ? { error } : {}),
    })),
  }
}

async function guestRequest(
  engine: Calls,
  log: Logger,
  operations: Operations,
  stream: TunnelStream,
  call: GuestCall,
): Promise<void> {
  const facts = {
    sandbox: call.sandbox,
    method: call.method,
    route: call.path.split('?')[0],
    ...(call.request_id === undefined ? {} : { request: call.request_id }),
  }
  const over = new AbortController()
  void stream.done.then((error) => error && over.abort(error))
  const late = setTimeout(
    () => over.abort(new AppError('deadline', 'cannot finish the request: it took too long')),
    maxRequestMs,
  )
  try {
    await logged(log, 'guest.request', facts, () =>
      execWatched(operations, call, (asked) => exchange(engine, stream, asked, over.signal)),
    )
  } finally {
    clearTimeout(late)
    over.abort(new AppError('cancelled', 'cannot go on: the request is over'))
  }
}

/** A call that starts a command is an exec: its agent is told the trace. */
async function execWatched(
  operations: Operations,
  call: GuestCall,
  run: (call: GuestCall) => Promise<number>,
): Promise<void> {
  const { sandbox, method, path, headers, trace, request_id } = call
  if (method !== 'POST' || (path !== '/exec' && path !== '/processes')) {
    await run(call)
    return
  }
  const about = { 'portico.sandbox.id': sandbox, 'portico.request.id': request_id }
  await operations.run('exec', trace, about, async (span) => {
    const status = await run(
      span.trace === undefined ? call : { ...call, headers: { ...headers, traceparent: span.trace } },
    )
    if (status >= 400) span.fail(new AppError('guest_error', `cannot run the command: its agent answered ${status}`))
  })
}

/** Answers the status of the guest's answer, once all of it was passed on. */
async function exchange(engine: Calls, stream: TunnelStream, call: GuestCall, signal: AbortSignal): Promise<number> {
  const { sandbox, generation, method, path, headers } = call
  const body = takesBody(method) ? bytesOf(stream) : undefined
  const response = await engine.request(sandbox, generation, { method, path, headers, body, signal })
  signal.throwIfAborted()
  answer(stream, { status: response.status, headers: response.headers } satisfies Accepted<'guest.request'>)
  const unbind = resetOnAbort(stream, signal)
  try {
    for await (const bytes of response.body) await stream.write(bytes)
    stream.end()
    return response.status
  } catch (error) {
    stream.reset(AppError.from(signal.aborted ? abortError(signal) : error).toWire())
    throw error
  } finally {
    unbind()
  }
}

function takesBody(method: GuestCall['method']): boolean {
  return method === 'PUT' || method === 'POST'
}

async function* bytesOf(stream: TunnelStream): AsyncGenerator<Uint8Array> {
  for (let bytes = await stream.read(); bytes; bytes = await stream.read()) yield bytes
}

function attempt(run: () => void): void {
  try {
    run()
  } catch {
    // Nobody is left to be told.
  }
}
