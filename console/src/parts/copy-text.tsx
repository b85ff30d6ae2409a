/** Text to take along: shown whole, with a button that copies it. */

import { useState } from 'preact/hooks'

export function CopyText({ text, label }: { text: string; label: string }) {
  const [said, setSaid] = useState('Copy')
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setSaid('Copied'),
      () => setSaid('Cannot copy'),
    )
  return (
    <span class="row copy">
      <input type="text" readOnly value={text} aria-label={label} onFocus={(event) => event.currentTarget.select()} />
      <button type="button" onClick={() => void copy()}>
        <span aria-live="polite">{said}</span>
      </button>
    </span>
  )
}
