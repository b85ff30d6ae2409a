/** What a proof of the streams is: something that a real client does, with what it found. */

import type { TestPlatform } from '../kit/platform.ts'
import type { Relay } from '../kit/relay.ts'

export interface Scene {
  readonly test: TestPlatform
  /** Between the runner and the front door. */
  readonly relay: Relay
  readonly say: (text: string) => void
}

/** One line of the table. */
export interface Finding {
  readonly what: string
  readonly found: string
  /** What it has to be, where that is stated. */
  readonly bound?: string
  readonly holds: boolean
}

export interface Proof {
  readonly name: string
  run(scene: Scene): Promise<Finding[]>
}

/** A finding that has to be exactly so. */
export function exactly(what: string, found: string | number, wanted: string | number): Finding {
  return { what, found: String(found), bound: String(wanted), holds: found === wanted }
}

/** A finding that is a number with a limit. */
export function atMost(what: string, found: number, limit: number, unit: string): Finding {
  return { what, found: `${shown(found)} ${unit}`, bound: `<= ${limit} ${unit}`, holds: found <= limit }
}

/** A finding without a limit. */
export function told(what: string, found: string): Finding {
  return { what, found, holds: true }
}

export function shown(value: number): string {
  return String(Number(value.toPrecision(3)))
}
