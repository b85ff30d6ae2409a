/** What a function of `/v1/…` answered, as its caller on another surface takes it. */

import { errorBody } from '@portico/shared/api'
import { AppError, isErrorCode } from '@portico/shared/errors'

/** Its document. One that is repeated by its `Idempotency-Key` may tell the error of its first call: that is thrown. */
export async function succeeded(response: Response): Promise<unknown> {
  const body: unknown = await response.json()
  if (response.status < 400) return body
  const { code, error } = errorBody.parse(body)
  throw new AppError(isErrorCode(code) ? code : 'internal', error)
}
