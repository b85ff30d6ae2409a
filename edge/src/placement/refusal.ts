/** What runners say who do not take something: whether another may, and which of several refusals says most. Pure. */

import type { AppError, WireError } from '@portico/shared/errors'

/** What only this runner's list of images has against it, in the order of how much it says: another runner has another list. */
const aboutImages: readonly string[] = ['image_unknown', 'image_not_allowed', 'image_not_installed']

export function isImageRefusal({ code }: Pick<WireError, 'code'>): boolean {
  return aboutImages.includes(code)
}

/** What is not about images at all says most: a runner would have taken it but for that. Of equals the later one. */
export function mostTelling(before: AppError | undefined, now: AppError): AppError {
  return before !== undefined && weight(before) > weight(now) ? before : now
}

function weight({ code }: AppError): number {
  const at = aboutImages.indexOf(code)
  return at < 0 ? aboutImages.length : at
}
