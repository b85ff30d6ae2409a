/** What went wrong, in one line with its hint, told also to who does not see it. */

import type { ApiFailure } from '../api.ts'

export function Notice({ failure }: { failure: ApiFailure | undefined }) {
  if (failure === undefined) return null
  return (
    <p class="notice" role="alert">
      <strong>{failure.message}.</strong> {failure.hint}
      {failure.status >= 500 && failure.requestId !== undefined && <small> ({failure.requestId})</small>}
    </p>
  )
}
