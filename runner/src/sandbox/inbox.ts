/**
 * What waits for a sandbox's loop: two lanes, so that what has happened is looked at before what is asked for. A request that is not due yet lets later
 * ones pass. One reader.
 */

export class Inbox<Event, Request> {
  readonly #events: Event[] = []
  readonly #requests: Request[] = []
  #wake: (() => void) | undefined

  event(event: Event): void {
    this.#events.push(event)
    this.#wake?.()
  }

  request(request: Request): void {
    this.#requests.push(request)
    this.#wake?.()
  }

  /** The next input; waits until there is one. `isDue` is asked anew after every event. */
  async next(isDue: (request: Request) => boolean = () => true): Promise<{ event: Event } | { request: Request }> {
    for (;;) {
      if (this.#events.length > 0) return { event: this.#events.shift() as Event }
      const due = this.#requests.findIndex(isDue)
      if (due >= 0) return { request: this.#requests.splice(due, 1)[0] as Request }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }

  /** Takes all events that wait. */
  takeEvents(): Event[] {
    return this.#events.splice(0)
  }

  /** Takes all requests that wait. */
  takeRequests(): Request[] {
    return this.#requests.splice(0)
  }
}
