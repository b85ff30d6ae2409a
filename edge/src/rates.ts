/** What a sandbox costs, by the deployment's rates. */

import { costCents } from '@portico/shared/usage'
import type { Env } from './env.ts'

/** Cents an hour: of one vCPU, and of one GiB of memory. */
export interface Rates {
  readonly vcpuHour: number
  readonly gibHour: number
}

const usual: Rates = { vcpuHour: 2.5, gibHour: 1.5 }

/** The rates in force; a variable that is missing or no number leaves the documented rate. */
export function ratesOf(env: Env): Rates {
  return {
    vcpuHour: rate(env.RATE_VCPU_HOUR_CENTS, usual.vcpuHour),
    gibHour: rate(env.RATE_GIB_HOUR_CENTS, usual.gibHour),
  }
}

/** What an uptime of this machine costs. */
export function costOf(env: Env, uptimeMs: number, machine: { vcpus: number; mem_mib: number }): number {
  return costCents(uptimeMs, machine.vcpus, machine.mem_mib, ratesOf(env))
}

function rate(text: unknown, otherwise: number): number {
  const value = typeof text === 'string' && text.trim() !== '' ? Number(text) : Number.NaN
  return Number.isFinite(value) && value >= 0 ? value : otherwise
}
