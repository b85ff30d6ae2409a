/** The way in: a key, tried with one call before it is kept. */

import { useState } from 'preact/hooks'
import { Api, type ApiFailure, toFailure } from './api.ts'
import { Notice } from './parts/notice.tsx'

export function SignIn({ onKey }: { onKey: (key: string) => void }) {
  const [failure, setFailure] = useState<ApiFailure>()
  const [busy, setBusy] = useState(false)
  const enter = async (event: SubmitEvent) => {
    event.preventDefault()
    const key = String(new FormData(event.currentTarget as HTMLFormElement).get('key')).trim()
    setBusy(true)
    setFailure(undefined)
    try {
      await new Api(key).json('/v1/runs', { query: { limit: '1' } })
      onKey(key)
    } catch (error) {
      setFailure(toFailure(error))
      setBusy(false)
    }
  }
  return (
    <main class="sign-in">
      <h1>Portico</h1>
      <form onSubmit={(event) => void enter(event)}>
        <label>
          API key
          <input name="key" type="password" required autocomplete="off" spellcheck={false} autofocus />
        </label>
        <Notice failure={failure} />
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
        <p class="quiet">The key stays in this tab and is gone with it.</p>
      </form>
    </main>
  )
}
