/** What a sandbox used and what that costs. */

import { z } from 'zod'

/** Measured by the runner. `uptime_ms` counts from when the guest was ready. */
export const usage = z.object({
  cpu_ms: z.number(),
  mem_peak_bytes: z.number(),
  mem_current_bytes: z.number(),
  disk_used_bytes: z.number(),
  uptime_ms: z.number(),
})
export type Usage = z.infer<typeof usage>

/** cost_cents = uptime in hours × (2.5 · vCPUs + 1.5 · GiB): the documented formula, exact, no rounding and no minimum. */
export function costCents(
  uptimeMs: number,
  vcpus: number,
  memMib: number,
  rates = { vcpuHour: 2.5, gibHour: 1.5 },
): number {
  return (uptimeMs / 3_600_000) * (rates.vcpuHour * vcpus + rates.gibHour * (memMib / 1024))
}
