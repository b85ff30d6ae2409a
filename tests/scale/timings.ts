/** How long calls took, in microseconds. */

export class Timings {
  #all = new Float32Array(1024)
  #count = 0

  get count(): number {
    return this.#count
  }

  time<Value>(run: () => Value): Value {
    const start = performance.now()
    try {
      return run()
    } finally {
      this.#add((performance.now() - start) * 1000)
    }
  }

  get mean(): number {
    return this.#taken().reduce((sum, one) => sum + one, 0) / Math.max(1, this.#count)
  }

  /** The value that this part of all stays under, 0.99 for instance. */
  quantile(part: number): number {
    return this.#taken().toSorted()[Math.min(this.#count - 1, Math.floor(this.#count * part))] ?? 0
  }

  #taken(): Float32Array {
    return this.#all.subarray(0, this.#count)
  }

  #add(microseconds: number): void {
    if (this.#count === this.#all.length) {
      const larger = new Float32Array(this.#count * 2)
      larger.set(this.#all)
      this.#all = larger
    }
    this.#all[this.#count++] = microseconds
  }
}
