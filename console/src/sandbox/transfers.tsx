/** Files on their way, each with its progress, and a way to stop it. A download is held in memory until it is whole, as the key cannot be put into a link. */

import { useEffect, useRef, useState } from 'preact/hooks'
import { type Api, ofRun, toFailure } from '../api.ts'
import { bytes } from '../figures.ts'
import { useApi } from '../parts/platform.ts'
import { joined } from './paths.ts'

export interface Transfer {
  readonly id: number
  readonly way: 'Upload' | 'Download'
  readonly path: string
  readonly size: number
  readonly moved: number
  readonly state: 'moving' | 'done' | 'failed'
  readonly why?: string
}

export interface Transfers {
  readonly all: readonly Transfer[]
  upload(folder: string, files: readonly File[]): void
  download(path: string, size: number): void
  cancel(id: number): void
}

type Moving = (moved: (count: number) => void, signal: AbortSignal) => Promise<void>

/** Those of one sandbox; they end with the page that shows them. */
export function useTransfers(run: string, onUploaded: () => void): Transfers {
  const api = useApi()
  const [all, setAll] = useState<readonly Transfer[]>([])
  const stops = useRef(new Map<number, AbortController>()).current
  const next = useRef(0)
  const stopAll = () => {
    for (const stop of stops.values()) stop.abort()
  }
  useEffect(() => stopAll, [])
  const change = (id: number, what: Partial<Transfer>) =>
    setAll((now) => now.map((one) => (one.id === id ? { ...one, ...what } : one)))
  const begin = async (way: Transfer['way'], path: string, size: number, move: Moving) => {
    const id = next.current++
    const stop = new AbortController()
    stops.set(id, stop)
    setAll((now) => [...now, { id, way, path, size, moved: 0, state: 'moving' }])
    try {
      await move((moved) => change(id, { moved }), stop.signal)
      change(id, { moved: size, state: 'done' })
    } catch (error) {
      const { message, hint } = toFailure(error)
      change(id, { state: 'failed', why: stop.signal.aborted ? 'stopped' : [message, hint].filter(Boolean).join('. ') })
    } finally {
      stops.delete(id)
    }
  }
  const upload = async (folder: string, files: readonly File[]) => {
    for (const file of files) {
      const path = joined(folder, file.name)
      const url = `${ofRun(run, 'files', 'upload')}?${new URLSearchParams({ path })}`
      await begin('Upload', path, file.size, (moved, signal) => api.upload(url, file, moved, signal))
      onUploaded()
    }
  }
  return {
    all,
    upload: (folder, files) => void upload(folder, files),
    download: (path, size) =>
      void begin('Download', path, size, (moved, signal) => download(api, run, path, moved, signal)),
    cancel: (id) => stops.get(id)?.abort(),
  }
}

async function download(
  api: Api,
  run: string,
  path: string,
  moved: (count: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await api.call(ofRun(run, 'files', 'download'), { query: { path }, signal })
  const parts: Uint8Array<ArrayBuffer>[] = []
  let count = 0
  for await (const part of pieces(response)) {
    parts.push(part)
    count += part.length
    moved(count)
  }
  const url = URL.createObjectURL(new Blob(parts, { type: 'application/octet-stream' }))
  const link = document.createElement('a')
  link.href = url
  link.download = path.slice(path.lastIndexOf('/') + 1)
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

/** Not every browser iterates over a stream. */
async function* pieces({ body }: Response): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  if (body === null) return
  const reader = body.getReader()
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value
}

export function TransferList({
  transfers,
  onCancel,
}: {
  transfers: readonly Transfer[]
  onCancel: (id: number) => void
}) {
  if (transfers.length === 0) return null
  return (
    <ul class="transfers" aria-label="Transfers">
      {transfers.map(({ id, way, path, size, moved, state, why }) => (
        <li key={id}>
          <span>
            {way} <code>{path}</code>
          </span>
          {state === 'moving' && (
            <span class="row">
              <progress max={size || 1} value={moved} aria-label={`${way} of ${path}`} />
              {bytes(moved)} of {bytes(size)}
              <button type="button" onClick={() => onCancel(id)}>
                Stop
              </button>
            </span>
          )}
          {state !== 'moving' && <span role="status">{state === 'done' ? `done, ${bytes(size)}` : why}</span>}
        </li>
      ))}
    </ul>
  )
}
