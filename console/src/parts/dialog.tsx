/** A question in front of the page: Esc and Cancel leave it, and the focus goes back to where it was. It stays while its work runs and says why that failed. */

import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { type ApiFailure, toFailure } from '../api.ts'
import { Notice } from './notice.tsx'

export interface DialogProps {
  readonly title: string
  /** What the button says that does it. */
  readonly action: string
  readonly danger?: boolean
  readonly children: ComponentChildren
  readonly onAction: (form: FormData) => Promise<void>
  /** Called when it is left, done or not. */
  readonly onClose: () => void
}

export function Dialog({ title, action, danger = false, children, onAction, onClose }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const heading = useId()
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<ApiFailure>()
  useEffect(() => {
    dialog.current?.showModal()
  }, [])
  const act = async (event: SubmitEvent) => {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    setFailure(undefined)
    try {
      await onAction(new FormData(event.currentTarget as HTMLFormElement))
      dialog.current?.close()
    } catch (error) {
      setFailure(toFailure(error))
    }
    setBusy(false)
  }
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={onClose}>
      <form onSubmit={(event) => void act(event)}>
        <h2 id={heading}>{title}</h2>
        {children}
        <Notice failure={failure} />
        <div class="row end">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class={danger ? 'danger' : 'primary'} disabled={busy}>
            {busy ? `${action}…` : action}
          </button>
        </div>
      </form>
    </dialog>
  )
}
