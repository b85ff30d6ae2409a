/** A machine that stands ready: restored from a template, warm, paused, and nobody's. It owns its place on the runner until somebody takes it. */

import type { Reservation } from '../capacity.ts'
import type { BootedVm } from '../sandbox/phases.ts'

export class PoolMachine {
  readonly booted: BootedVm
  readonly place: Reservation

  constructor(booted: BootedVm, place: Reservation) {
    this.booted = booted
    this.place = place
  }

  /** Frees everything. */
  async giveUp(): Promise<void> {
    try {
      await this.booted.unwind()
    } finally {
      this.place.release()
    }
  }
}
