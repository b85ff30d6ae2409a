/** What skopeo's words mean for a caller. It has no codes: what its versions print is matched here and nowhere else. Pure. */

import { AppError, type ErrorCode } from '@portico/shared/errors'

interface Row {
  readonly pattern: RegExp
  readonly code: ErrorCode
  readonly why: string
}

/** The first that fits; a layer that is missing comes before a manifest that is. */
const rows: readonly Row[] = [
  { pattern: /no space left on device|disk quota exceeded/i, code: 'image_no_space', why: "the runner's disk is full" },
  {
    pattern:
      /digest did not match|does not match (?:the )?(?:expected )?digest|digest mismatch|invalid checksum|size mismatch/i,
    code: 'image_unsuitable',
    why: 'what its registry sent does not have the digest that was asked for',
  },
  {
    pattern: /blob unknown|(?:fetching|reading|writing) (?:a )?blob.*(?:404|not found|manifest unknown)/is,
    code: 'image_unsuitable',
    why: 'a layer of it is missing in its registry',
  },
  {
    pattern: /toomanyrequests|too many requests|\b429\b/i,
    code: 'image_pull_failed',
    why: 'its registry takes no more requests for now',
  },
  {
    pattern:
      /unauthorized|authentication required|access to the resource is denied|\bdenied\b|invalid username\/password|status(?: ?code)?:? (?:from registry )?40[13]|40[13] \((?:Unauthorized|Forbidden)\)/i,
    code: 'image_denied',
    why: "its registry does not give it with the runner's credentials",
  },
  {
    pattern:
      /manifest unknown|name unknown|name invalid|repository name not known|not found|status(?: ?code)?:? (?:from registry )?404/i,
    code: 'image_missing',
    why: 'its registry does not have it',
  },
  {
    pattern: /server gave HTTP response to HTTPS client/i,
    code: 'image_pull_failed',
    why: 'its registry speaks HTTP and is not among insecure_registries in portico.yaml',
  },
  {
    pattern: /x509|certificate/i,
    code: 'image_pull_failed',
    why: "its registry's certificate is not one that the runner trusts",
  },
  {
    pattern: /no such host|server misbehaving|temporary failure in name resolution/i,
    code: 'image_pull_failed',
    why: 'its registry has no address',
  },
  { pattern: /connection refused/i, code: 'image_pull_failed', why: 'its registry refuses the connection' },
  { pattern: /timeout|timed out|deadline exceeded/i, code: 'image_pull_failed', why: 'its registry does not answer' },
  {
    pattern: /unsupported (?:schema|manifest)|unknown manifest|unrecognized manifest/i,
    code: 'image_unsuitable',
    why: 'its manifest is of a format that is not known',
  },
  { pattern: /signature|rejected by policy/i, code: 'image_denied', why: "the host's signature policy refuses it" },
]

/** The error for a skopeo that failed; its own words are the cause and stay in the log. */
export function skopeoError(stderr: string, what: string): AppError {
  const row = rows.find(({ pattern }) => pattern.test(stderr))
  const { code, why } = row ?? { code: 'image_pull_failed' as const, why: 'its registry did not send it' }
  return new AppError(code, `cannot pull ${what}: ${why}`, { cause: stderr.trim().slice(-1000) })
}
