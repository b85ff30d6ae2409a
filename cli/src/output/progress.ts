/** What is going on right now, as one moving line on standard error while a person watches; nothing otherwise. */

import type { Terminal } from './terminal.ts'

const frames = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'
const frameMs = 80
const eraseLine = '\r\u001b[K'

export class Progress {
  readonly #terminal: Terminal
  #timer: NodeJS.Timeout | undefined
  #frame = 0
  #text = ''

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** Shows what begins now, in place of what was shown. */
  async begin(text: string): Promise<void> {
    if (!this.#terminal.watched) return
    await this.clear()
    this.#text = text
    this.#timer = setInterval(() => void this.#draw(), frameMs).unref()
    await this.#draw()
  }

  /** Prints something above the moving line, which goes on below it. */
  async say(text: string): Promise<void> {
    if (!this.#terminal.watched) return
    const isMoving = this.#timer !== undefined
    await this.clear()
    await this.#terminal.complain(text.endsWith('\n') ? text : `${text}\n`)
    if (isMoving) await this.begin(this.#text)
  }

  /** Says that it is done, on a line that stays. */
  async done(text: string): Promise<void> {
    if (!this.#terminal.watched) return
    await this.clear()
    await this.#terminal.complain(`✓ ${text}\n`)
  }

  /** Takes the moving line away. */
  async clear(): Promise<void> {
    if (this.#timer === undefined) return
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#terminal.complain(eraseLine)
  }

  async #draw(): Promise<void> {
    const frame = frames[this.#frame++ % frames.length] ?? ''
    await this.#terminal.complain(`\r${frame} ${this.#text}`)
  }
}
