/** All sandboxes of the account, newest first, with what each does right now. */

import type { RunList, RunRecord } from '@portico/shared/api'
import { useRef, useState } from 'preact/hooks'
import { bytes, cents, duration, percent } from '../figures.ts'
import { Notice } from '../parts/notice.tsx'
import { useApi } from '../parts/platform.ts'
import { usePolling } from '../parts/polling.ts'
import { sandboxHash } from '../route.ts'
import { type Action, ActionDialog, actionsFor } from './actions.tsx'
import { CreateDialog } from './create.tsx'
import { State } from './state.tsx'
import { type Seen, UsageBook } from './usage-book.ts'

const everyMs = 3000
const pageSize = 50

type Open = { readonly name: 'create' } | { readonly name: 'action'; readonly action: Action; readonly run: RunRecord }

export function SandboxList() {
  const api = useApi()
  const book = useRef(new UsageBook()).current
  const [limit, setLimit] = useState(pageSize)
  const [open, setOpen] = useState<Open>()
  const { value, failure, again } = usePolling(
    async (signal) => {
      const list = await api.json<RunList>('/v1/runs', { query: { limit: String(limit) }, signal })
      return { list, seen: await book.look(api, list.runs, signal) }
    },
    everyMs,
    [api, limit],
  )
  const runs = value?.list.runs
  return (
    <>
      <div class="row between">
        <h1>Sandboxes</h1>
        <button type="button" class="primary" onClick={() => setOpen({ name: 'create' })}>
          New sandbox
        </button>
      </div>
      <Notice failure={failure} />
      {runs === undefined && failure === undefined && <p aria-live="polite">Loading…</p>}
      {runs?.length === 0 && <p>There is no sandbox. Make one, and its terminal opens here.</p>}
      {runs !== undefined && runs.length > 0 && (
        <ul class="cards" aria-label="Sandboxes">
          {runs.map((run) => (
            <Card
              key={run.id}
              run={run}
              seen={value?.seen.get(run.id)}
              onAction={(action) => setOpen({ name: 'action', action, run })}
            />
          ))}
        </ul>
      )}
      {value?.list.next_cursor !== undefined && (
        <button type="button" onClick={() => setLimit(limit + pageSize)}>
          Show more
        </button>
      )}
      {open?.name === 'create' && <CreateDialog onClose={() => setOpen(undefined)} />}
      {open?.name === 'action' && (
        <ActionDialog action={open.action} run={open.run} onDone={again} onClose={() => setOpen(undefined)} />
      )}
    </>
  )
}

interface CardProps {
  readonly run: RunRecord
  readonly seen: Seen | undefined
  readonly onAction: (action: Action) => void
}

function Card({ run, seen, onAction }: CardProps) {
  const title = run.name ?? run.id
  return (
    <li class="card">
      <div class="row between">
        <h2>
          <a href={sandboxHash(run.id)}>{title}</a>
        </h2>
        <State status={run.status} />
      </div>
      <p class="quiet">
        {run.name !== undefined && <code>{run.id}</code>} {run.image} · {run.vcpus} vCPU ·{' '}
        {bytes(run.mem_mib * 1_048_576)}
        {run.reason !== undefined && ` · ${run.reason}`}
      </p>
      <dl class="figures">
        <Figure name="Age" value={duration(Date.now() - Date.parse(run.created_at))} />
        <Figure name="Cost" value={seen && cents(seen.usage.cost_cents)} />
        <Figure name="CPU" value={seen?.load && percent(seen.load.cpu)} />
        <Figure name="Memory" value={seen?.load && bytes(seen.load.memoryBytes)} />
      </dl>
      <div class="row">
        {actionsFor(run.status).map((action) => (
          <button key={action} type="button" aria-label={`${action} ${title}`} onClick={() => onAction(action)}>
            {action}
          </button>
        ))}
      </div>
    </li>
  )
}

export function Figure({ name, value }: { name: string; value: string | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value ?? '–'}</dd>
    </div>
  )
}
