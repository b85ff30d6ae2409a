/** The terminal of a sandbox: which of its consoles, a new one, and links for others to look at it. */

import type { ConsoleLink, ConsoleList, ConsoleRecord, RunRecord } from '@portico/shared/api'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiFailure, ofRun, toFailure } from '../api.ts'
import { CopyText } from '../parts/copy-text.tsx'
import { Notice } from '../parts/notice.tsx'
import { useApi } from '../parts/platform.ts'
import { sandboxHash } from '../route.ts'
import { ConsoleView } from './console-view.tsx'

export function TerminalTab({ run, console: chosen }: { run: RunRecord; console: string | undefined }) {
  const api = useApi()
  const [consoles, setConsoles] = useState<readonly ConsoleRecord[]>()
  const [failure, setFailure] = useState<ApiFailure>()
  const [link, setLink] = useState<ConsoleLink>()
  const toolbar = useRef<HTMLDivElement>(null)
  const path = ofRun(run.id, 'consoles')
  const attempt = async (work: () => Promise<void>) => {
    setFailure(undefined)
    await work().catch((error: unknown) => setFailure(toFailure(error)))
  }
  const show = (id: string) => {
    setLink(undefined)
    location.replace(sandboxHash(run.id, 'terminal', id))
  }
  const create = async () => {
    const made = await api.json<ConsoleRecord>(path, { method: 'POST', json: { cols: 80, rows: 24 } })
    setConsoles((now) => [...(now ?? []), made])
    show(made.id)
  }
  useEffect(() => {
    void attempt(async () => {
      const list = (await api.json<ConsoleList>(path)).consoles
      setConsoles(list)
      if (chosen !== undefined) return
      const running = list.find(({ state }) => state === 'running')
      if (running !== undefined) show(running.id)
      else if (run.status === 'running' || run.auto_resume) await create()
    })
  }, [api, path, chosen === undefined, run.status === 'running'])
  const share = async (access: ConsoleLink['access']) => {
    const links = ofRun(run.id, 'consoles', chosen ?? '', 'links')
    setLink(await api.json<ConsoleLink>(links, { method: 'POST', json: { access } }))
  }
  const address = (id: string) => (from: number | undefined) => {
    const query = new URLSearchParams({ token: api.token, ...(from === undefined ? {} : { from: String(from) }) })
    return `${location.origin.replace(/^http/, 'ws')}${path}/${encodeURIComponent(id)}/attach?${query}`
  }
  return (
    <section aria-label="Terminal">
      <div ref={toolbar}>
        <ConsoleBar
          choices={choices(consoles, chosen)}
          chosen={chosen}
          onShow={show}
          onCreate={() => void attempt(create)}
          onShare={(access) => void attempt(() => share(access))}
        />
      </div>
      {link !== undefined && (
        <CopyText
          text={link.url}
          label={link.access === 'read' ? 'Link to look, good for an hour' : 'Link to type, good for an hour'}
        />
      )}
      <Notice failure={failure} />
      {chosen !== undefined && (
        <ConsoleView
          key={chosen}
          address={address(chosen)}
          check={async () => void (await api.call(`${path}/${encodeURIComponent(chosen)}`))}
          onLeave={() => toolbar.current?.querySelector('select')?.focus()}
        />
      )}
    </section>
  )
}

interface ConsoleBarProps {
  readonly choices: readonly Choice[]
  readonly chosen: string | undefined
  readonly onShow: (id: string) => void
  readonly onCreate: () => void
  readonly onShare: (access: ConsoleLink['access']) => void
}

function ConsoleBar({ choices, chosen, onShow, onCreate, onShare }: ConsoleBarProps) {
  return (
    <div class="row">
      <label class="inline">
        Console
        <select value={chosen ?? ''} onChange={(event) => onShow(event.currentTarget.value)}>
          {chosen === undefined && <option value="">none</option>}
          {choices.map(({ id, label }) => (
            <option key={id} value={id} selected={id === chosen}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <button type="button" onClick={onCreate}>
        New console
      </button>
      <button type="button" disabled={chosen === undefined} onClick={() => onShare('read')}>
        Link to look
      </button>
      <button type="button" disabled={chosen === undefined} onClick={() => onShare('write')}>
        Link to type
      </button>
    </div>
  )
}

interface Choice {
  readonly id: string
  readonly label: string
}

/** The consoles to choose from, the one on show among them even where the list does not have it. */
function choices(consoles: readonly ConsoleRecord[] | undefined, chosen: string | undefined): readonly Choice[] {
  const known = (consoles ?? []).map(({ id, name, state }, index) => {
    const label = name ?? `Console ${index + 1}`
    return { id, label: state === 'running' ? label : `${label} (${state})` }
  })
  if (chosen === undefined || known.some(({ id }) => id === chosen)) return known
  return [...known, { id: chosen, label: chosen }]
}
