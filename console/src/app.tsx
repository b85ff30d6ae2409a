/** The frame around everything: who is signed in, where the page is, and the way about. */

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { Account } from './account.tsx'
import { Api } from './api.ts'
import { Platform } from './parts/platform.ts'
import { parseRoute, type Route } from './route.ts'
import { SandboxPage } from './sandbox/page.tsx'
import { SandboxList } from './sandboxes/list.tsx'
import { storedKey, storeKey } from './session.ts'
import { SignIn } from './sign-in.tsx'
import { LinkView } from './terminal/link-view.tsx'

export function App() {
  const route = useRoute()
  const [key, setKey] = useState(storedKey)
  const keep = (next: string | undefined) => {
    storeKey(next)
    setKey(next)
  }
  // A key that is refused is no key: whoever had it signs in again, and is where he was.
  const api = useMemo(() => (key === undefined ? undefined : new Api(key, () => keep(undefined))), [key])
  if (route.name === 'link') return <LinkView key={`${route.run} ${route.console} ${route.token}`} link={route} />
  if (api === undefined) return <SignIn onKey={keep} />
  return (
    <Platform.Provider value={api}>
      <Header route={route} onSignOut={() => keep(undefined)} />
      <main id="main" tabIndex={-1}>
        <Place route={route} />
      </main>
    </Platform.Provider>
  )
}

function Header({ route, onSignOut }: { route: Route; onSignOut: () => void }) {
  const here = (name: Route['name']) => (route.name === name ? 'page' : undefined)
  return (
    <header class="top">
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to content
      </button>
      <strong class="brand">Portico</strong>
      <nav aria-label="Main">
        <a href="#/" aria-current={here('list')}>
          Sandboxes
        </a>
        <a href="#/usage" aria-current={here('account')}>
          Usage
        </a>
      </nav>
      <button type="button" class="plain" onClick={onSignOut}>
        Sign out
      </button>
    </header>
  )
}

function Place({ route }: { route: Route }) {
  switch (route.name) {
    case 'list':
      return <SandboxList />
    case 'account':
      return <Account />
    case 'sandbox':
      return <SandboxPage key={route.run} run={route.run} tab={route.tab} console={route.console} />
    default:
      return (
        <>
          <h1>There is no such page</h1>
          <a href="#/">All sandboxes</a>
        </>
      )
  }
}

/** The route; when it leads to another page, the focus goes to that page's beginning. */
function useRoute(): Route {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const follow = () => setHash(location.hash)
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  const route = useMemo(() => parseRoute(hash), [hash])
  const place = `${route.name} ${route.name === 'sandbox' ? route.run : ''}`
  const former = useRef(place)
  useEffect(() => {
    if (former.current !== place) document.getElementById('main')?.focus({ preventScroll: true })
    former.current = place
  }, [place])
  return route
}
