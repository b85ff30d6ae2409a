/** What an account has used, in the SDK's spelling. */

import type { AccountUsage as Wire } from '@portico/shared/api'

/** Over all regions. Active is what exists, history what is over, total both. */
export interface AccountUsage {
  readonly activeSandboxes: number
  readonly historySandboxes: number
  readonly activeCostCents: number
  readonly historyCostCents: number
  readonly totalCostCents: number
  readonly cpuSeconds: number
  readonly memGibSeconds: number
  readonly asOf: Date
}

/** @internal */
export function usageOf(wire: Wire): AccountUsage {
  return {
    activeSandboxes: wire.active_sandboxes,
    historySandboxes: wire.history_sandboxes,
    activeCostCents: wire.active_cost_cents,
    historyCostCents: wire.history_cost_cents,
    totalCostCents: wire.total_cost_cents,
    cpuSeconds: wire.cpu_seconds,
    memGibSeconds: wire.mem_seconds,
    asOf: new Date(wire.as_of),
  }
}
