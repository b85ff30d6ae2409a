/** One sandbox: what it is, what can be done with it, and its tabs. */

import type { RunRecord } from '@portico/shared/api'
import { useState } from 'preact/hooks'
import { ofRun } from '../api.ts'
import { bytes } from '../figures.ts'
import { Notice } from '../parts/notice.tsx'
import { useApi } from '../parts/platform.ts'
import { usePolling } from '../parts/polling.ts'
import { sandboxHash, type Tab, tabs } from '../route.ts'
import { type Action, ActionDialog, actionsFor } from '../sandboxes/actions.tsx'
import { State } from '../sandboxes/state.tsx'
import { TerminalTab } from '../terminal/terminal-tab.tsx'
import { AuditTab } from './audit-tab.tsx'
import { FilesTab } from './files-tab.tsx'
import { PortsTab } from './ports-tab.tsx'
import { UsageTab } from './usage-tab.tsx'

const everyMs = 4000

const titles: Readonly<Record<Tab, string>> = {
  terminal: 'Terminal',
  files: 'Files',
  ports: 'Ports',
  usage: 'Usage',
  audit: 'Audit',
}

interface SandboxPageProps {
  readonly run: string
  readonly tab: Tab
  readonly console: string | undefined
}

export function SandboxPage({ run: id, tab, console }: SandboxPageProps) {
  const api = useApi()
  const [action, setAction] = useState<Action>()
  const {
    value: run,
    failure,
    again,
  } = usePolling((signal) => api.json<RunRecord>(ofRun(id), { signal }), everyMs, [api, id])
  const done = () => {
    if (action === 'Destroy' || action === 'Fork') location.hash = '#/'
    else again()
  }
  if (run === undefined)
    return failure === undefined ? <p aria-live="polite">Loading…</p> : <Notice failure={failure} />
  return (
    <>
      <div class="row between">
        <h1>{run.name ?? <code>{run.id}</code>}</h1>
        <State status={run.status} />
      </div>
      <p class="quiet">
        {run.name !== undefined && <code>{run.id}</code>} {run.image} · {run.vcpus} vCPU ·{' '}
        {bytes(run.mem_mib * 1_048_576)} · {run.region}
      </p>
      <Notice failure={failure} />
      <div class="row between">
        <nav class="tabs" aria-label="Sandbox">
          {tabs.map((one) => (
            <a key={one} href={sandboxHash(id, one)} aria-current={one === tab ? 'page' : undefined}>
              {titles[one]}
            </a>
          ))}
        </nav>
        <div class="row">
          {actionsFor(run.status).map((one) => (
            <button key={one} type="button" onClick={() => setAction(one)}>
              {one}
            </button>
          ))}
        </div>
      </div>
      {action !== undefined && (
        <ActionDialog action={action} run={run} onDone={done} onClose={() => setAction(undefined)} />
      )}
      <Content run={run} tab={tab} console={console} />
    </>
  )
}

function Content({ run, tab, console }: { run: RunRecord; tab: Tab; console: string | undefined }) {
  switch (tab) {
    case 'terminal':
      return <TerminalTab run={run} console={console} />
    case 'files':
      return <FilesTab run={run.id} />
    case 'ports':
      return <PortsTab run={run.id} />
    case 'usage':
      return <UsageTab run={run} />
    case 'audit':
      return <AuditTab run={run.id} />
  }
}
