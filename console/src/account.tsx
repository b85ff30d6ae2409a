/** What the account uses and has used, over all regions. */

import type { AccountUsage, History } from '@portico/shared/api'
import { cents, duration } from './figures.ts'
import { Notice } from './parts/notice.tsx'
import { useApi } from './parts/platform.ts'
import { usePolling } from './parts/polling.ts'
import { Figure } from './sandboxes/list.tsx'

const everyMs = 10_000

export function Account() {
  const api = useApi()
  const usage = usePolling((signal) => api.json<AccountUsage>('/v1/usage', { signal }), everyMs, [api])
  const history = usePolling(
    (signal) => api.json<History>('/v1/runs/history', { query: { limit: '50' }, signal }),
    everyMs,
    [api],
  )
  const used = usage.value
  const over = history.value?.sandboxes
  return (
    <>
      <h1>Usage</h1>
      <Notice failure={usage.failure ?? history.failure} />
      {used !== undefined && (
        <dl class="figures wide">
          <Figure name="Total cost" value={cents(used.total_cost_cents)} />
          <Figure name="Of those that exist" value={cents(used.active_cost_cents)} />
          <Figure name="Of those that are over" value={cents(used.history_cost_cents)} />
          <Figure name="Sandboxes" value={`${used.active_sandboxes}, and ${used.history_sandboxes} over`} />
          <Figure name="Processor time" value={duration(used.cpu_seconds * 1000)} />
          <Figure name="Memory" value={`${Math.round(used.mem_seconds)} GiB s`} />
        </dl>
      )}
      <h2>Sandboxes that are over</h2>
      {over?.length === 0 && <p>None so far.</p>}
      {over !== undefined && over.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached with a keyboard
        <section class="scroll" tabIndex={0} aria-label="Sandboxes that are over">
          <table>
            <thead>
              <tr>
                <th scope="col">Sandbox</th>
                <th scope="col">Image</th>
                <th scope="col">Ended</th>
                <th scope="col">Lived</th>
                <th scope="col">Cost</th>
              </tr>
            </thead>
            <tbody>
              {over.map((one) => (
                <tr key={one.id}>
                  <td>{one.name ?? <code>{one.id}</code>}</td>
                  <td>{one.image}</td>
                  <td>{new Date(one.destroyed_at).toLocaleString()}</td>
                  <td>{duration(one.uptime_ms)}</td>
                  <td>{cents(one.cost_cents)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </>
  )
}
