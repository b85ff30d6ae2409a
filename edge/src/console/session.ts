/**
 * One console, terminal or shell: its viewers, its scrollback, and what it follows. The object of the same id owns it; everything that it needs
 * after an eviction is in storage or on the viewers' sockets.
 *
 *   resting ──somebody joins or types──▶ following ──nobody looks for 30 s──▶ resting
 *      following ──cut, sandbox asleep──▶ waiting ──alarm, or somebody types──▶ following
 *      any ──the process ends, is removed, or its sandbox is gone──▶ over ──24 h──▶ forgotten
 *
 * An object that wakes after an eviction is resting; the next message, or the alarm that is set for as long as somebody looks on, makes it follow
 * from the end of its scrollback.
 */

import type { ConsoleRecord, ProcessEnding } from '@portico/shared/api'
import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { OutputRecord } from '@portico/shared/process-records'
import type { Scrollback } from '../store/scrollback.ts'
import { Attachment, type ProcessWire } from './attachment.ts'
import { Following, goneSandbox } from './following.ts'
import { type Adapter, type Chunk, chunkBytes, type Input } from './frames.ts'
import type { Reachable } from './guest-line.ts'
import { readMark } from './shell-mark.ts'
import { ShellRuns } from './shell-runs.ts'
import {
  adapters,
  type ConsoleState,
  keptAfterEndMs,
  nextAlarm,
  type Over,
  publicConsole,
  restAfterMs,
} from './state.ts'
import type { Viewer, ViewerSocket } from './viewer.ts'
import { Viewers } from './viewers.ts'

/** How soon what was printed is stored. */
const storeMs = 250
const storeBytes = 65_536
/** How long slow viewers hold the process, while all that look on are slow. */
const slowMs = 10_000
/** How long it takes at most to find out what became of a command. */
const catchUpMs = 60_000
/** When one whose end did not work out is tried again. */
const endAgainMs = 60_000

export interface SessionOptions {
  readonly state: ConsoleState
  readonly put: (state: ConsoleState) => void
  readonly scrollback: Scrollback
  readonly wire: ProcessWire
  readonly reachable: () => Promise<Reachable>
  /** The sockets that are open. */
  readonly sockets: () => readonly ViewerSocket[]
  readonly setAlarm: (at: number | undefined) => void
  /** Everything about it is to be forgotten. */
  readonly forget: () => Promise<void>
  readonly clock: Clock
  readonly background: (work: Promise<unknown>) => void
  /** It was just made: its process has taken no input. */
  readonly isNew?: boolean
}

export class Session {
  readonly #options: SessionOptions
  readonly #adapter: Adapter
  readonly #attachment: Attachment
  readonly #following: Following
  readonly #runs: ShellRuns
  readonly #viewers: Viewers
  #state: ConsoleState
  #alarm: number | undefined
  /** Not tried before then. */
  #endAt = 0
  /** The shell's command that runs where the scrollback ends. */
  #current: string | null
  #stopStoring: (() => void) | undefined
  #moved = Promise.withResolvers<void>()

  constructor(options: SessionOptions) {
    const { state, scrollback, wire, clock, isNew = false, reachable, background } = options
    this.#options = options
    this.#state = state
    this.#adapter = adapters[state.kind]
    this.#viewers = new Viewers(this.#adapter, options.sockets)
    const { last } = scrollback
    this.#current = last?.kind === 'mark' ? runningAfter(last) : (last?.run ?? null)
    this.#attachment = new Attachment({
      wire,
      clock,
      from: scrollback.end,
      stdinEnd: isNew ? 0 : null,
      onOpen: () => this.#opened(),
      onRecords: (records) => this.#take(records),
    })
    this.#following = new Following({
      attachment: this.#attachment,
      reachable,
      clock,
      background,
      onOver: (over) => this.#over(over),
      onApart: (reason) => this.#viewers.tellLink(false, reason),
      onRefused: (error) => this.#viewers.tell({ kind: 'error', error }),
      onStopped: () => this.#stopped(),
    })
    this.#runs = new ShellRuns({
      wire,
      marks: () => scrollback.marks,
      caughtUp: () => this.#caughtUp(),
      onRefused: (run, error) => this.#viewers.tell({ kind: 'error', error, run }),
    })
  }

  get state(): ConsoleState {
    return this.#state
  }

  /** The console as the API shows it. Of a process that nobody follows it is asked whether it still runs, unless that would wake it. */
  async describe(): Promise<ConsoleRecord> {
    const viewers = this.#viewers.all.length
    let ending: ProcessEnding | undefined
    if (this.#state.over === null && this.#attachment.state !== 'open') {
      const reachable = await this.#options.reachable()
      if (reachable === 'gone') this.#over({ kind: 'lost', error: goneSandbox })
      if (reachable === 'running') ending = await this.#ending()
    }
    return publicConsole(this.#state, viewers, ending)
  }

  /** Somebody looks on from an offset; null is what the kind of console begins with. */
  join(socket: ViewerSocket, access: 'read' | 'write', from: number | null): void {
    const { id, cols, rows, kind, stoodAt, over, leftAt } = this.#state
    const { scrollback } = this.#options
    const wanted = from ?? (kind === 'console' ? scrollback.start : stoodAt)
    // What the last socket was sent is there again soon, should an interruption have taken it from the scrollback.
    const offset = Math.min(wanted, Math.max(scrollback.end, stoodAt))
    const viewer = this.#viewers.join(socket, { id, access, cols, rows, offset })
    viewer.catchUp(scrollback)
    if (over !== null) {
      this.#tellOver(viewer, over)
      return
    }
    if (leftAt !== null) this.#change({ leftAt: null })
    this.#viewers.tellCount()
    this.#following.follow()
    this.#schedule()
  }

  /** A socket is gone. */
  left(socket: ViewerSocket): void {
    const { viewer, others } = this.#viewers.leave(socket)
    if (this.#state.over !== null) return
    if (others.length === 0) {
      this.#change({ leftAt: this.#options.clock.now(), stoodAt: viewer?.at ?? this.#state.stoodAt })
      this.#schedule()
    }
    this.#viewers.tellCount(others)
    this.#wake()
  }

  /** What a viewer sent. */
  message(socket: ViewerSocket, message: ArrayBuffer | string): void {
    const viewer = this.#viewers.of(socket)
    if (viewer === undefined || this.#state.over !== null) return
    const input = this.#adapter.read(message)
    try {
      if (input === undefined) throw new AppError('invalid_request', 'cannot read the frame: it is none of this kind')
      if (input.kind !== 'ack' && !viewer.mayWrite) {
        throw new AppError('forbidden', 'cannot type: this view is read-only')
      }
      this.#serve(input, viewer)
    } catch (thrown) {
      viewer.refuse(AppError.from(thrown).toWire(), input?.kind === 'run' ? input.id : undefined)
    }
    if (this.#options.clock.now() >= this.#following.retryAt) this.#following.follow()
  }

  /** Ends the process and has the sandbox forget it, which counts as use. One that has exited is forgotten where that can be had now. */
  async end(): Promise<void> {
    const { over } = this.#state
    if (over?.kind === 'exited') await this.#options.wire.remove().catch(() => undefined)
    if (over !== null) return
    try {
      const { ending } = await this.#options.wire.remove()
      this.#over({ kind: 'exited', ending: ending ?? killed })
    } catch (thrown) {
      const error = AppError.from(thrown)
      if (error.code !== 'not_found' && error.code !== 'sandbox_not_found') throw error
      this.#over({ kind: 'lost', error: error.toWire() })
    }
  }

  /** Its sandbox fell asleep or woke: who looks on is to know soon. */
  moved(to: 'hibernated' | 'running'): void {
    if (this.#state.over !== null || this.#state.leftAt !== null) return
    if (to === 'hibernated') this.#following.lookAgain()
    else this.#following.followAnew()
  }

  /** The alarm went off: goes on with whatever is due. */
  async tick(): Promise<void> {
    this.#alarm = undefined
    const { clock, forget } = this.#options
    const now = clock.now()
    const { overAt, leftAt, lingerMs } = this.#state
    if (overAt !== null) {
      if (now >= overAt + keptAfterEndMs) return forget()
    } else if (leftAt !== null && lingerMs !== null && now >= Math.max(leftAt + lingerMs, this.#endAt)) {
      await this.#endUnwatched()
    } else if (leftAt !== null && now >= leftAt + restAfterMs) {
      this.#following.leave()
    } else if (now >= this.#following.retryAt) {
      this.#following.follow()
    }
    this.#schedule()
  }

  #serve(input: Input, viewer: Viewer): void {
    switch (input.kind) {
      case 'ack':
        viewer.ack(input.bytes, this.#options.scrollback)
        this.#wake()
        break
      case 'data':
        this.#attachment.write(input.bytes)
        this.#following.use()
        break
      case 'size':
        this.#change({ cols: input.cols, rows: input.rows })
        this.#attachment.resize(input.cols, input.rows)
        this.#viewers.tell(input)
        break
      case 'signal':
        this.#telling(viewer, this.#options.wire.signal(input.signal))
        break
      case 'run':
        this.#run(input.id, input.command, viewer)
        break
      case 'close':
        this.#telling(viewer, this.end())
    }
  }

  #run(id: string, command: string, viewer: Viewer): void {
    const mark = this.#runs.ended(id)
    if (mark !== undefined) {
      viewer.tell({ kind: 'ended', mark })
      return
    }
    this.#options.background(this.#runs.give(id, command))
    this.#following.use()
  }

  /** Work whose failure the viewer is told. */
  #telling(viewer: Viewer, work: Promise<unknown>): void {
    this.#options.background(work.catch((thrown) => viewer.refuse(AppError.from(thrown).toWire())))
  }

  async #ending(): Promise<ProcessEnding | undefined> {
    try {
      return (await this.#options.wire.status()).ending
    } catch (thrown) {
      const error = AppError.from(thrown)
      if (error.code === 'not_found') this.#over({ kind: 'lost', error: error.toWire() })
      return undefined
    }
  }

  #opened(): void {
    const { kind, cols, rows } = this.#state
    if (kind !== 'shell') this.#attachment.resize(cols, rows)
    this.#viewers.tellLink(true)
    this.#wake()
  }

  #stopped(): void {
    this.#store()
    this.#schedule()
    this.#wake()
  }

  /** Output: kept, and passed on at once. While all that look on are slow, the process waits for the first of them. */
  async #take(records: readonly OutputRecord[]): Promise<void> {
    const { scrollback, clock } = this.#options
    for (const record of records) {
      const chunk = this.#chunk(record)
      if (chunk === undefined) continue
      scrollback.append(chunk)
      this.#viewers.offer(chunk, scrollback)
    }
    if (scrollback.waiting >= storeBytes) this.#store()
    else this.#stopStoring ??= clock.after(storeMs, () => this.#store())
    this.#wake()
    const until = clock.now() + slowMs
    while (clock.now() < until && this.#viewers.areAllFull) await this.#untilMoved(until - clock.now())
  }

  #chunk(record: OutputRecord): Chunk | undefined {
    const { kind, offset: at } = record
    if (kind === 'stdout' || kind === 'stderr') return { at, kind, run: this.#current, bytes: record.bytes }
    if (kind !== 'mark') return undefined
    const chunk: Chunk = { at, kind, run: null, bytes: chunkBytes(record.json) }
    const mark = readMark(chunk)
    if (mark !== undefined) this.#current = this.#runs.marked(mark)
    return chunk
  }

  /** Follows until the scrollback has all that was printed up to now. */
  async #caughtUp(): Promise<void> {
    const { clock, wire } = this.#options
    const until = clock.now() + catchUpMs
    let end: number | undefined
    while (this.#state.over === null) {
      if (end === undefined && this.#attachment.state === 'open') {
        end = await wire.status().then(
          (record) => record.output_end,
          () => undefined,
        )
      }
      if (end !== undefined && this.#attachment.offset >= end) return
      if (clock.now() >= until) break
      this.#following.follow()
      await this.#untilMoved(until - clock.now())
    }
    throw new AppError('deadline', 'cannot tell whether the command runs: the sandbox is away')
  }

  async #endUnwatched(): Promise<void> {
    this.#endAt = this.#options.clock.now() + endAgainMs
    try {
      if ((await this.#options.reachable()) !== 'asleep') await this.end()
    } catch {
      // The alarm tries it again.
    }
  }

  #over(over: Over): void {
    if (this.#state.over !== null) return
    this.#store()
    this.#change({ over, overAt: this.#options.clock.now() })
    for (const viewer of this.#viewers.all) this.#tellOver(viewer, over)
    this.#following.stop()
    // Of a session nobody asks for the process; a console's stays where the API lists it.
    if (over.kind === 'exited' && this.#state.kind !== 'console') {
      this.#options.background(this.#options.wire.remove().catch(() => undefined))
    }
    this.#schedule()
    this.#wake()
  }

  #tellOver(viewer: Viewer, over: Over): void {
    if (over.kind === 'exited') viewer.tell({ kind: 'exit', ending: over.ending })
    else viewer.refuse(over.error)
    viewer.close(over.kind === 'exited' ? 1000 : 1001, over.kind === 'exited' ? 'the process has ended' : 'gone')
  }

  #change(change: Partial<ConsoleState>): void {
    this.#state = { ...this.#state, ...change }
    this.#options.put(this.#state)
  }

  #store(): void {
    this.#stopStoring?.()
    this.#stopStoring = undefined
    this.#options.scrollback.flush()
  }

  /** Sets the alarm to what is due next. */
  #schedule(): void {
    const { clock, setAlarm } = this.#options
    const { isActive, retryAt } = this.#following
    const next = nextAlarm(this.#state, clock.now(), { isActive, retryAt, endAt: this.#endAt })
    if (next === this.#alarm) return
    this.#alarm = next
    setAlarm(next)
  }

  /** Something moved: whoever waits looks again. */
  #wake(): void {
    this.#moved.resolve()
    this.#moved = Promise.withResolvers()
  }

  async #untilMoved(ms: number): Promise<void> {
    const late = Promise.withResolvers<void>()
    const stop = this.#options.clock.after(Math.min(ms, 1_000), () => late.resolve())
    await Promise.race([this.#moved.promise, late.promise])
    stop()
  }
}

const killed: ProcessEnding = { exit_code: 137, signal: 'SIGKILL', timed_out: false, duration_ms: 0 }

/** The command that a mark leaves running. */
function runningAfter(chunk: Chunk): string | null {
  const mark = readMark(chunk)
  return mark?.state === 'started' ? mark.run : null
}
