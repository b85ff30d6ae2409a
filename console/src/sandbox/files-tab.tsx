/** The files of a sandbox: browse, upload by button or by dropping them on the list, download. */

import type { FileList as Listing } from '@portico/shared/api'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiFailure, ofRun, toFailure } from '../api.ts'
import { bytes } from '../figures.ts'
import { Notice } from '../parts/notice.tsx'
import { useApi } from '../parts/platform.ts'
import { crumbs, joined, resolved } from './paths.ts'
import { type Transfer, TransferList, useTransfers } from './transfers.tsx'

type Entry = Listing['details'][number]

const start = '/root'

export function FilesTab({ run }: { run: string }) {
  const api = useApi()
  const [folder, setFolder] = useState(start)
  const [listing, setListing] = useState<Listing>()
  const [failure, setFailure] = useState<ApiFailure>()
  const [turn, setTurn] = useState(0)
  const transfers = useTransfers(run, () => setTurn((now) => now + 1))
  useEffect(() => {
    const stop = new AbortController()
    const read = async () => {
      try {
        setListing(await api.json<Listing>(ofRun(run, 'files'), { query: { path: folder }, signal: stop.signal }))
        setFailure(undefined)
      } catch (error) {
        if (stop.signal.aborted) return
        const why = toFailure(error)
        // An image without such a home has a root at least.
        if (why.code === 'file_not_found' && folder === start && listing === undefined) setFolder('/')
        else setFailure(why)
      }
    }
    void read()
    return () => stop.abort()
  }, [api, run, folder, turn])
  const open = (entry: Entry) => {
    if (listing === undefined) return
    const path = joined(listing.path, entry.name)
    if (entry.type === 'file') transfers.download(path, entry.size)
    else setFolder(path)
  }
  return (
    <section aria-label="Files">
      <PathBar folder={folder} onGo={setFolder} onReload={() => setTurn(turn + 1)} />
      <Notice failure={failure} />
      <DropPlace onFiles={(files) => transfers.upload(listing?.path ?? folder, files)}>
        {listing === undefined ? null : <Entries listing={listing} onOpen={open} />}
      </DropPlace>
      <TransferList transfers={transfers.all as readonly Transfer[]} onCancel={transfers.cancel} />
    </section>
  )
}

function PathBar({ folder, onGo, onReload }: { folder: string; onGo: (path: string) => void; onReload: () => void }) {
  const go = (event: SubmitEvent) => {
    event.preventDefault()
    onGo(resolved(folder, String(new FormData(event.currentTarget as HTMLFormElement).get('path'))))
  }
  return (
    <>
      <nav class="crumbs" aria-label="Folder">
        {crumbs(folder).map(({ name, path }) => (
          <button
            key={path}
            type="button"
            class="plain"
            aria-current={path === folder ? 'location' : undefined}
            onClick={() => onGo(path)}
          >
            {name}
          </button>
        ))}
      </nav>
      <form class="row" onSubmit={go}>
        <input name="path" key={folder} value={folder} aria-label="Path" autocomplete="off" spellcheck={false} />
        <button type="submit">Go</button>
        <button type="button" onClick={onReload}>
          Reload
        </button>
      </form>
    </>
  )
}

function DropPlace({
  onFiles,
  children,
}: {
  onFiles: (files: readonly File[]) => void
  children: preact.ComponentChildren
}) {
  const [over, setOver] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const drop = (event: DragEvent) => {
    event.preventDefault()
    setOver(false)
    onFiles([...(event.dataTransfer?.files ?? [])])
  }
  const chosen = () => {
    onFiles([...(input.current?.files ?? [])])
    if (input.current !== null) input.current.value = ''
  }
  return (
    <section
      class={over ? 'drop over' : 'drop'}
      aria-label="Folder's content; files may be dropped here"
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <p class="row">
        <button type="button" class="primary" onClick={() => input.current?.click()}>
          Upload files
        </button>
        <span class="quiet">or drop them here</span>
        <input ref={input} type="file" multiple hidden aria-label="Files to upload" onChange={chosen} />
      </p>
      {children}
    </section>
  )
}

function Entries({ listing, onOpen }: { listing: Listing; onOpen: (entry: Entry) => void }) {
  const folderFirst = (entry: Entry) => (entry.type === 'directory' ? 0 : 1)
  const sorted = [...listing.details].sort((a, b) => folderFirst(a) - folderFirst(b) || a.name.localeCompare(b.name))
  if (sorted.length === 0) return <p>This folder is empty.</p>
  return (
    <table class="files">
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col" class="number">
            Size
          </th>
          <th scope="col" class="more">
            Mode
          </th>
          <th scope="col" class="more">
            Changed
          </th>
        </tr>
      </thead>
      <tbody>
        {sorted.map((entry) => (
          <tr key={entry.name}>
            <td>
              <button type="button" class="plain name" disabled={entry.type === 'other'} onClick={() => onOpen(entry)}>
                {entry.name}
                {entry.type === 'directory' && '/'}
                {entry.type === 'symlink' && ' →'}
              </button>
            </td>
            <td class="number">{entry.type === 'file' ? bytes(entry.size) : ''}</td>
            <td class="more">
              <code>{entry.mode}</code>
            </td>
            <td class="more">{new Date(entry.modified_at).toLocaleString()}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
