/**
 * A terminal on the page, fed by an attachment. It owns xterm, the attachment and what watches its size; `close` ends all of them.
 *
 * Programs ask a terminal about itself, and every viewer's terminal would answer, also to questions of long ago that stand in the scrollback. So an
 * answer leaves only while live, and of several viewers only from the one whose page has the focus.
 */

import type { ConsoleEvent } from '@portico/shared/api'
import { FitAddon } from '@xterm/addon-fit'
import { type ITheme, Terminal } from '@xterm/xterm'
import { Attachment, type Phase } from './attachment.ts'
import { installStrictStyles } from './strict-styles.ts'

export interface ScreenOptions {
  readonly place: HTMLElement
  /** Address of the console's socket, given where to begin. */
  readonly address: (from: number | undefined) => string
  readonly onPhase: (phase: Phase) => void
  readonly onEvent: (event: ConsoleEvent) => void
  /** Ctrl+F6: the key that leaves the terminal. */
  readonly onLeave: () => void
}

const scrollbackLines = 10_000
const questions = [{ final: 'c' }, { prefix: '>', final: 'c' }, { prefix: '=', final: 'c' }, { final: 'n' }] as const
const moreQuestions = [
  { prefix: '>', final: 'q' },
  { prefix: '?', final: 'n' },
  { intermediates: '$', final: 'p' },
] as const
const colourQuestions = [4, 10, 11, 12]

export class Screen {
  readonly #options: ScreenOptions
  readonly #terminal: Terminal
  readonly #fit = new FitAddon()
  readonly #attachment: Attachment
  readonly #stop = new AbortController()
  readonly #encoder = new TextEncoder()
  /** What came before `live` is still being shown. */
  #replaying = true
  #viewers = 1
  #writes = false

  constructor(options: ScreenOptions) {
    installStrictStyles()
    this.#options = options
    const dark = matchMedia('(prefers-color-scheme: dark)')
    this.#terminal = new Terminal({
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      fontFamily: 'ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: 13,
      scrollback: scrollbackLines,
      minimumContrastRatio: 4.5,
      theme: theme(dark.matches),
    })
    this.#terminal.loadAddon(this.#fit)
    this.#terminal.open(options.place)
    this.#listen(dark)
    this.#attachment = new Attachment({
      open: (from) => new WebSocket(options.address(from)),
      onBytes: (bytes, shown) => this.#terminal.write(bytes, shown),
      onEvent: (event) => this.#take(event),
      onPhase: (phase) => options.onPhase(phase),
    })
  }

  focus(): void {
    this.#terminal.focus()
  }

  /** Whether what is printed is also told to who does not see it. */
  tell(on: boolean): void {
    this.#terminal.options.screenReaderMode = on
  }

  close(): void {
    this.#stop.abort()
    this.#attachment.close()
    this.#terminal.dispose()
  }

  #listen(dark: MediaQueryList): void {
    const { signal } = this.#stop
    const terminal = this.#terminal
    terminal.onData((text) => this.#type(this.#encoder.encode(text)))
    terminal.onBinary((text) => this.#type(Uint8Array.from(text, (character) => character.charCodeAt(0))))
    terminal.attachCustomKeyEventHandler((event) => {
      if (event.key !== 'F6' || !event.ctrlKey) return true
      event.preventDefault()
      if (event.type === 'keydown') this.#options.onLeave()
      return false
    })
    for (const question of [...questions, ...moreQuestions]) {
      terminal.parser.registerCsiHandler(question, () => !this.#mayAnswer)
    }
    terminal.parser.registerDcsHandler({ intermediates: '$', final: 'q' }, () => !this.#mayAnswer)
    for (const number of colourQuestions) {
      terminal.parser.registerOscHandler(number, (text) => text.includes('?') && !this.#mayAnswer)
    }
    dark.addEventListener('change', () => this.#retheme(dark.matches), { signal })
    addEventListener('online', () => this.#attachment.hurry(), { signal })
    const watch = new ResizeObserver(() => this.#fitToPlace())
    watch.observe(this.#options.place)
    signal.addEventListener('abort', () => watch.disconnect())
  }

  #type(bytes: Uint8Array): void {
    if (this.#writes && !this.#replaying) this.#attachment.type(bytes)
  }

  #take(event: ConsoleEvent): void {
    switch (event.type) {
      case 'joined':
        this.#replaying = true
        this.#writes = event.access === 'write'
        this.#terminal.options.disableStdin = !this.#writes
        this.#terminal.resize(event.cols, event.rows)
        break
      case 'live':
        // Behind everything that is still to be shown.
        this.#terminal.write('', () => {
          this.#replaying = false
        })
        this.#fitToPlace()
        break
      case 'size':
        this.#terminal.resize(event.cols, event.rows)
        break
      case 'viewers':
        this.#viewers = event.count
        break
      case 'gap':
        this.#terminal.write(`\r\n\x1b[2m[${event.bytes} bytes are gone]\x1b[0m\r\n`)
        break
      default:
        break
    }
    this.#options.onEvent(event)
  }

  /** Who may type has the console as large as his own place for it; who may not sees it as it is. */
  #fitToPlace(): void {
    if (!this.#writes || this.#attachment?.phase !== 'live') return
    const size = this.#fit.proposeDimensions()
    if (size === undefined || !(size.cols > 1) || !(size.rows > 1)) return
    const { cols, rows } = this.#terminal
    if (size.cols !== cols || size.rows !== rows)
      this.#attachment.resize(Math.min(size.cols, 1000), Math.min(size.rows, 1000))
  }

  #retheme(dark: boolean): void {
    this.#terminal.options.theme = theme(dark)
  }

  get #mayAnswer(): boolean {
    return this.#writes && !this.#replaying && (this.#viewers <= 1 || document.hasFocus())
  }
}

function theme(dark: boolean): ITheme {
  return dark
    ? { background: '#0d1416', foreground: '#e3ecec', cursor: '#6fd3e6', selectionBackground: '#2c5a66' }
    : {
        background: '#ffffff',
        foreground: '#172224',
        cursor: '#0f5f73',
        selectionBackground: '#b8dde6',
        black: '#172224',
        white: '#5b6769',
        brightWhite: '#172224',
      }
}
