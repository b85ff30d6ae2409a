/** What listens in a sandbox, and who may reach it from outside. */

import type { PortAccess, PortLink, PortList, PortRecord } from '@portico/shared/api'
import { useState } from 'preact/hooks'
import { type ApiFailure, ofRun, toFailure } from '../api.ts'
import { CopyText } from '../parts/copy-text.tsx'
import { Notice } from '../parts/notice.tsx'
import { useApi } from '../parts/platform.ts'
import { usePolling } from '../parts/polling.ts'

const everyMs = 5000
const accesses: readonly [PortAccess, string][] = [
  ['url', 'whoever knows the URL'],
  ['signed', 'whoever has a signed link'],
  ['key', 'an API key of the account'],
]

export function PortsTab({ run }: { run: string }) {
  const api = useApi()
  const { value, failure, again } = usePolling(
    (signal) => api.json<PortList>(ofRun(run, 'ports'), { signal }),
    everyMs,
    [api, run],
  )
  return (
    <section aria-label="Ports">
      <Notice failure={failure} />
      {value?.ports.length === 0 && (
        <p>
          Nothing listens. Start a server in the terminal, such as <code>python3 -m http.server 8000</code>.
        </p>
      )}
      <ul class="cards">
        {value?.ports.map((port) => (
          <Port key={port.port} run={run} port={port} onChange={again} />
        ))}
      </ul>
    </section>
  )
}

function Port({ run, port, onChange }: { run: string; port: PortRecord; onChange: () => void }) {
  const api = useApi()
  const [failure, setFailure] = useState<ApiFailure>()
  const [link, setLink] = useState<PortLink>()
  const path = ofRun(run, 'ports', String(port.port))
  const attempt = async (work: () => Promise<void>) => {
    setFailure(undefined)
    await work().catch((error: unknown) => setFailure(toFailure(error)))
  }
  const open = (access: PortAccess) =>
    attempt(async () => {
      await api.call(path, { method: 'PUT', json: { access } })
      onChange()
    })
  const sign = () =>
    attempt(async () =>
      setLink(await api.json<PortLink>(`${path}/links`, { method: 'POST', json: { expires_in: 3600 } })),
    )
  return (
    <li class="card">
      <div class="row between">
        <h2>{port.port}</h2>
        <span class={port.listening === false ? 'state still' : 'state good'}>
          {port.listening === false ? 'closed' : 'listening'}
        </span>
      </div>
      <p class="quiet">{[port.command, port.address].filter(Boolean).join(' on ')}</p>
      {port.url !== undefined && (
        <p class="break">
          <a href={port.url} target="_blank" rel="noopener noreferrer">
            {port.url}
          </a>
        </p>
      )}
      <div class="row">
        <label>
          Open to
          <select value={port.access} onChange={(event) => void open(event.currentTarget.value as PortAccess)}>
            {accesses.map(([access, who]) => (
              <option key={access} value={access} selected={access === port.access}>
                {who}
              </option>
            ))}
          </select>
        </label>
        {port.url !== undefined && (
          <button type="button" onClick={() => void sign()}>
            Signed link for an hour
          </button>
        )}
      </div>
      {link !== undefined && <CopyText text={link.url} label={`Signed link to port ${port.port}`} />}
      <Notice failure={failure} />
    </li>
  )
}
