/** Where the platform is and who calls, as they were given or as the environment says; checked before the first call. */

import { AuthenticationError } from './errors.ts'
import { invalid } from './options.ts'

/** The platform's address, without a slash at its end. `option` is what the caller could have passed. */
export function platformUrl(text: string | undefined, option: string): string {
  if (text === undefined)
    throw invalid('cannot find the platform: no URL is given', `Set PORTICO_URL, or pass ${option}.`)
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw invalid(`cannot use the URL ${text}`, 'It looks like https://portico.example or http://127.0.0.1:8787.')
  if (url.username !== '' || url.password !== '')
    throw invalid('cannot use a URL with a user name in it', `The key goes elsewhere: pass ${option} without it.`)
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** A key that can be sent. `what` names it, `variable` and `option` are where it comes from. */
export function usableKey(text: string | undefined, what: string, variable: string, option: string): string {
  if (text !== undefined && /^[\x21-\x7e]+$/.test(text)) return text
  const why = text === undefined ? `no ${what} is given` : `the ${what} has characters that no key has`
  throw new AuthenticationError({
    code: 'unauthorized',
    message: `cannot use the platform: ${why}`,
    status: 0,
    retryable: false,
    hint: `Set ${variable}, or pass ${option}.`,
  })
}
