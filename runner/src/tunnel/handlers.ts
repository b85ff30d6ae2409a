/**
 * The edge's calls: each stream's head is checked, run on the engine and answered once. What goes wrong becomes the answer's error, or RESET where the
 * answer was given already; nothing thrown here reaches the connection.
 */

import { type answers, type EdgeCall, edgeCall } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { abortError, answer, parseHead, refuse, resetOnAbort, type TunnelStream } from '@portico/shared/tunnel'
import type { z } from 'zod'
import type { Engine, Forked } from '../engine.ts'
import { maxRequestMs } from '../guest/limits.ts'
import { type Logger, logged } from '../log.ts'
import type { RequestCall } from '../port/http.ts'
import type { SocketCall } from '../port/socket.ts'
import { checkpointCall } from './checkpoint-calls.ts'
import { portCall } from './port-calls.ts'

type Calls = Omit<Engine, 'close' | 'drain' | 'onChange' | 'onWarm' | 'status'>
type GuestCall = Extract<EdgeCall, { op: 'guest.request' }>
type PlainCall = Exclude<EdgeCall, GuestCall | RequestCall | SocketCall>
type Accepted<Op extends keyof typeof answers> = Omit<Extract<z.infer<(typeof answers)[Op]>, { ok: true }>, 'ok'>

/** What the tunnel does with a stream that the edge opened. */
export function edgeHandler(engine: Calls, log: Logger): (stream: TunnelStream, head: Uint8Array) => void {
  return (stream, head) => void handle(engine, log, stream, head)
}

async function handle(engine: Calls, log: Logger, stream: TunnelStream, head: Uint8Array): Promise<void> {
  try {
    const call = parseHead(head, edgeCall)
    if (call.op === 'guest.request') return await guestRequest(engine, log, stream, call)
    if (call.op === 'port.request' || call.op === 'port.socket') return await portCall(engine, log, stream, call)
    answer(stream, await run(engine, call))
    stream.end()
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (error.code === 'internal') log.error({ error: thrown }, 'tunnel.call')
    // A stream that was answered, or is over, takes no second answer.
    attempt(() => refuse(stream, error.toWire()))
  }
}

async function run(engine: Calls, call: PlainCall): Promise<object> {
  switch (call.op) {
    case 'checkpoint.create':
    case 'checkpoint.list':
    case 'checkpoint.wait':
    case 'checkpoint.restore':
    case 'checkpoint.delete':
      return await checkpointCall(engine, call)
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

async function guestRequest(engine: Calls, log: Logger, stream: TunnelStream, call: GuestCall): Promise<void> {
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
    await logged(log, 'guest.request', facts, () => exchange(engine, stream, call, over.signal))
  } finally {
    clearTimeout(late)
    over.abort(new AppError('cancelled', 'cannot go on: the request is over'))
  }
}

async function exchange(engine: Calls, stream: TunnelStream, call: GuestCall, signal: AbortSignal): Promise<void> {
  const { sandbox, generation, method, path, headers } = call
  const body = takesBody(method) ? bytesOf(stream) : undefined
  const response = await engine.request(sandbox, generation, { method, path, headers, body, signal })
  signal.throwIfAborted()
  answer(stream, { status: response.status, headers: response.headers } satisfies Accepted<'guest.request'>)
  const unbind = resetOnAbort(stream, signal)
  try {
    for await (const bytes of response.body) await stream.write(bytes)
    stream.end()
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
