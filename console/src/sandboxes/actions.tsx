/** What can be done with a sandbox in each state, each asked about before it is done. */

import type { ForkResponse, RunRecord, RunStatus } from '@portico/shared/api'
import { ofRun } from '../api.ts'
import { Dialog } from '../parts/dialog.tsx'
import { useApi } from '../parts/platform.ts'

export type Action = 'Fork' | 'Hibernate' | 'Resume' | 'Destroy'

/** What a sandbox in this state takes. */
export function actionsFor(status: RunStatus): readonly Action[] {
  switch (status) {
    case 'running':
      return ['Fork', 'Hibernate', 'Destroy']
    case 'hibernated':
      return ['Resume', 'Destroy']
    case 'destroyed':
      return []
    default:
      return ['Destroy']
  }
}

const questions: Readonly<Record<Action, string>> = {
  Fork: 'Copies it as it is right now, with its processes, memory and files. It stands still for a moment.',
  Hibernate: 'Saves its memory and frees its processors. Processes go on where they were when it is resumed.',
  Resume: 'Puts it back to where it was.',
  Destroy: 'Ends its processes and removes its files. This cannot be taken back.',
}

export interface ActionDialogProps {
  readonly action: Action
  readonly run: RunRecord
  /** Called once it is done. */
  readonly onDone: () => void
  readonly onClose: () => void
}

export function ActionDialog({ action, run, onDone, onClose }: ActionDialogProps) {
  const api = useApi()
  const act = async (form: FormData) => {
    if (action === 'Destroy') await api.call(ofRun(run.id), { method: 'DELETE' })
    else if (action === 'Fork') await fork(Number(form.get('count')))
    else await api.call(ofRun(run.id, action.toLowerCase()), { method: 'POST' })
    onDone()
  }
  const fork = async (count: number) => {
    const { failed } = await api.json<ForkResponse>(ofRun(run.id, 'fork'), { method: 'POST', json: { count } })
    const [first] = failed
    if (first !== undefined) throw new Error(`${failed.length} of ${count} forks failed: ${first.error}`)
  }
  return (
    <Dialog
      title={`${action} ${run.name ?? run.id}?`}
      action={action}
      danger={action === 'Destroy'}
      onAction={act}
      onClose={onClose}
    >
      <p>{questions[action]}</p>
      {action === 'Fork' && (
        <label>
          How many
          <input name="count" type="number" min={1} max={32} value={1} required />
        </label>
      )}
    </Dialog>
  )
}
