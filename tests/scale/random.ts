/** Chance that a seed decides, so that a run can be had again. */

export interface Random {
  /** At least 0, below 1. */
  next(): number
  /** At least 0, below `limit`. */
  below(limit: number): number
  /** How many events of this rate happen in one step. */
  count(rate: number): number
}

/** A small generator (mulberry32): enough for spreading load, nothing else. */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let value = Math.imul(state ^ (state >>> 15), state | 1)
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61)
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    next,
    below: (limit) => Math.floor(next() * limit),
    count: (rate) => Math.floor(rate) + (next() < rate % 1 ? 1 : 0),
  }
}
