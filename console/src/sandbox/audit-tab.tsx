/** The audit log of a sandbox, newest first. It grows without end, so a page shows its last lines, and earlier ones when asked. */

import type { AuditEntry } from '@portico/shared/api'
import { useEffect, useState } from 'preact/hooks'
import { type Api, type ApiFailure, ofRun, toFailure } from '../api.ts'
import { Notice } from '../parts/notice.tsx'
import { useApi } from '../parts/platform.ts'
import { entriesOf } from './audit-lines.ts'

const pageSize = 200

interface Shown {
  readonly entries: readonly AuditEntry[]
  readonly total: number
}

export function AuditTab({ run }: { run: string }) {
  const api = useApi()
  const [count, setCount] = useState(pageSize)
  const [turn, setTurn] = useState(0)
  const [shown, setShown] = useState<Shown>()
  const [failure, setFailure] = useState<ApiFailure>()
  const [search, setSearch] = useState('')
  useEffect(() => {
    const stop = new AbortController()
    read(api, run, count, stop.signal).then(
      (log) => {
        setShown(log)
        setFailure(undefined)
      },
      (error: unknown) => stop.signal.aborted || setFailure(toFailure(error)),
    )
    return () => stop.abort()
  }, [api, run, count, turn])
  const rows = shown?.entries.map((entry) => ({ entry, data: JSON.stringify(entry.data) }))
  const found = rows?.filter(({ entry, data }) => `${entry.event} ${data}`.includes(search)).reverse()
  return (
    <section aria-label="Audit">
      <form class="row" onSubmit={(event) => event.preventDefault()}>
        <input
          type="search"
          placeholder="Search"
          aria-label="Search the log"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        <button type="button" onClick={() => setTurn(turn + 1)}>
          Reload
        </button>
      </form>
      <Notice failure={failure} />
      {found !== undefined && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached with a keyboard
        <section class="scroll" tabIndex={0} aria-label="Log">
          <table>
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">What</th>
                <th scope="col">Details</th>
              </tr>
            </thead>
            <tbody>
              {found.map(({ entry, data }) => (
                <tr key={entry.seq}>
                  <td>{new Date(entry.ts).toLocaleString()}</td>
                  <td>{entry.event}</td>
                  <td>
                    <code class="break">{data}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {shown !== undefined && shown.entries.length < shown.total && (
        <button type="button" onClick={() => setCount(count + 5 * pageSize)}>
          Earlier ones ({shown.total - shown.entries.length})
        </button>
      )}
    </section>
  )
}

/** The last `count` lines. */
async function read(api: Api, run: string, count: number, signal: AbortSignal): Promise<Shown> {
  const path = ofRun(run, 'audit')
  const head = await api.call(path, { method: 'HEAD', signal })
  const total = Number(head.headers.get('portico-audit-entries') ?? 0)
  const from = Math.max(0, total - count)
  const response = await api.call(path, { query: { from: String(from) }, signal })
  const entries = entriesOf(await response.text())
  return { entries, total: from + entries.length }
}
