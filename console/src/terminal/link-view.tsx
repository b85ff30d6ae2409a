/** A console for whoever was given a link to it: its token is all that is needed, and all that it opens. */

import { useRef } from 'preact/hooks'
import { ofRun } from '../api.ts'
import { ConsoleView } from './console-view.tsx'

interface Link {
  readonly run: string
  readonly console: string
  readonly token: string
}

export function LinkView({ link: { run, console, token } }: { link: Link }) {
  const home = useRef<HTMLAnchorElement>(null)
  const address = (from: number | undefined) => {
    const query = new URLSearchParams({ token, ...(from === undefined ? {} : { from: String(from) }) })
    return `${location.origin.replace(/^http/, 'ws')}${ofRun(run, 'consoles', console, 'attach')}?${query}`
  }
  return (
    <>
      <header class="top">
        <a class="brand" href="#/" ref={home}>
          Portico
        </a>
        <span class="quiet break">{run}</span>
      </header>
      <main id="main">
        <h1 class="unseen">Shared console</h1>
        <ConsoleView address={address} onLeave={() => home.current?.focus()} />
      </main>
    </>
  )
}
