/** A promise that somebody else settles. Node 20 has no `Promise.withResolvers`. */
export class Deferred<Value> {
  readonly promise: Promise<Value>
  resolve!: (value: Value | PromiseLike<Value>) => void
  reject!: (why: unknown) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }
}
