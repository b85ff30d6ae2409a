/** A guest of a scripted runner with kept processes: the agent's routes that consoles, terminals and shells use, each answered by a scripted process. */

import type { EdgeCall } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { answer, type TunnelStream } from '@portico/shared/tunnel'
import { ScriptedProcess } from './scripted-process.ts'
import { guestAnswers, readAll } from './scripted-runner.ts'

type GuestRequestCall = Extract<EdgeCall, { op: 'guest.request' }>

export class ScriptedGuest {
  readonly processes = new Map<string, ScriptedProcess>()
  /** What was asked for with each start. */
  readonly started: { path: string; asked: Record<string, unknown> }[] = []
  /** Of each call that came. */
  readonly paths: string[] = []
  #made = 0

  /** The process that was started last. */
  get process(): ScriptedProcess {
    const last = [...this.processes.values()].at(-1)
    if (last === undefined) throw new Error('nothing was started')
    return last
  }

  /** What a script's `guest.request` does. */
  readonly serve = async (call: GuestRequestCall, stream: TunnelStream): Promise<void> => {
    try {
      await this.#serve(call, stream)
    } catch (thrown) {
      const { code, message, status } = AppError.from(thrown)
      guestAnswers(stream, status, { error: { code, message } })
    }
  }

  async #serve(call: GuestRequestCall, stream: TunnelStream): Promise<void> {
    const url = new URL(call.path, 'http://guest')
    const { pathname, searchParams } = url
    this.paths.push(`${call.method} ${pathname}`)
    if (call.method === 'POST' && (pathname === '/processes' || pathname === '/shells')) {
      this.started.push({ path: pathname, asked: JSON.parse(await readAll(stream)) })
      const process = new ScriptedProcess(`proc${(this.#made++).toString(16).padStart(16, '0')}`)
      this.processes.set(process.id, process)
      return guestAnswers(stream, 200, process.record)
    }
    const process = this.processes.get(searchParams.get('id') ?? '')
    if (process === undefined) throw new AppError('not_found', 'cannot find the process: there is none with this id')
    switch (pathname) {
      case '/processes/attach':
        return attach(process, Number(searchParams.get('from')), stream)
      case '/processes/stdin':
        process.stdinAt(Number(searchParams.get('at')), new TextEncoder().encode(await readAll(stream)))
        break
      case '/processes/signal':
        await process.signal((JSON.parse(await readAll(stream)) as { signal: string }).signal)
        break
      case '/shells/run': {
        const { run, command } = JSON.parse(await readAll(stream)) as { run: string; command: string }
        await process.run(run, command)
        break
      }
      case '/processes':
        await process.remove()
        this.processes.delete(process.id)
    }
    guestAnswers(stream, 200, process.record)
  }
}

/** Both directions of a follower, until its end or its cut. */
async function attach(process: ScriptedProcess, from: number, stream: TunnelStream): Promise<void> {
  answer(stream, { status: 200, headers: { 'Content-Type': 'application/octet-stream' } })
  const { take, stop } = process.follow(from, {
    send: (bytes) => void stream.write(bytes).catch(() => undefined),
    close: () => stream.end(),
    cut: () => stream.reset({ code: 'guest_disconnected', message: 'cannot go on: cut' }),
  })
  try {
    for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) take(bytes)
  } catch {
    // Whoever followed is gone.
  } finally {
    stop()
  }
}
