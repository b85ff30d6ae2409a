import { AppError } from '@portico/shared/errors'

/** Throws unless an id is fit for the name of a folder. */
export function mustBeName(id: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(id))
    throw new AppError('invalid_request', 'cannot use the id: it has letters, digits, _ and - only')
}
