/** What an account uses and has used, from its index alone: last figures and the time since for what runs, a running total for what is over. */

import type { AccountUsage } from '@portico/shared/api'
import { costCents } from '@portico/shared/usage'
import type { Rates } from '../rates.ts'
import type { SandboxIndex, Sum } from '../store/sandbox-index.ts'

/** The account's usage at this moment. */
export function accountUsage(index: SandboxIndex | undefined, rates: Rates, now: number): AccountUsage {
  const active = index?.totalActive(now) ?? nothing
  const over = index?.totalOver() ?? nothing
  const activeCost = costOf(active, rates)
  const overCost = costOf(over, rates)
  return {
    active_sandboxes: active.sandboxes,
    history_sandboxes: over.sandboxes,
    active_cost_cents: activeCost,
    history_cost_cents: overCost,
    total_cost_cents: activeCost + overCost,
    cpu_seconds: (active.cpuMs + over.cpuMs) / 1000,
    mem_seconds: (active.mibMs + over.mibMs) / 1024 / 1000,
    as_of: new Date(now).toISOString(),
  }
}

const nothing: Sum = { sandboxes: 0, vcpuMs: 0, mibMs: 0, cpuMs: 0 }

/** The documented formula is linear, so that of the sums is the sum. */
function costOf({ vcpuMs, mibMs }: Sum, { vcpuHour, gibHour }: Rates): number {
  return costCents(vcpuMs, 1, 0, { vcpuHour, gibHour }) + costCents(mibMs, 0, 1, { vcpuHour, gibHour })
}
