/**
 * Data-plane tokens: a JWT, signed with RS256, that opens one sandbox. Claims and their checks are here only.
 *
 *   iss portico    aud portico-data-plane    sub sb_…    account, region    iat, nbf, exp
 */

import { errors, jwtVerify, SignJWT } from 'jose'
import type { SignedToken, TokenSubject } from '../ports.ts'
import { fromIrisId, toIrisId } from './ids.ts'

const issuer = 'portico'
const audience = 'portico-data-plane'
const algorithm = 'RS256'
/** How far clocks may be apart. */
export const leewaySeconds = 30
/** How long a token counts: what is asked for, within these bounds. */
export const tokenSeconds: Readonly<Record<'least' | 'usual' | 'most', number>> = {
  least: 60,
  usual: 3600,
  most: 86_400,
}

/** Times are seconds. */
export function signToken(
  { kid, key }: { readonly kid: string; readonly key: CryptoKey },
  { sandbox, account, region }: TokenSubject,
  issuedAt: number,
  expiresAt: number,
): Promise<SignedToken['token']> {
  return new SignJWT({ account, region })
    .setProtectedHeader({ alg: algorithm, kid, typ: 'JWT' })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(toIrisId(sandbox))
    .setIssuedAt(issuedAt)
    .setNotBefore(issuedAt)
    .setExpirationTime(expiresAt)
    .sign(key)
}

/** What the token says, if all of it holds at this moment; undefined otherwise. What `find` throws goes through. */
export async function readToken(
  token: string,
  now: number,
  find: (kid: string) => Promise<CryptoKey | undefined>,
): Promise<TokenSubject | undefined> {
  try {
    const { payload } = await jwtVerify(
      token,
      async ({ kid }) => {
        const key = typeof kid === 'string' ? await find(kid) : undefined
        if (key === undefined) throw new errors.JWKSNoMatchingKey()
        return key
      },
      {
        issuer,
        audience,
        algorithms: [algorithm],
        clockTolerance: leewaySeconds,
        currentDate: new Date(now),
        requiredClaims: ['sub', 'exp', 'iat', 'account', 'region'],
      },
    )
    const { sub = '', account, region } = payload
    const sandbox = fromIrisId(sub)
    if (sandbox === undefined || typeof account !== 'string' || typeof region !== 'string') return undefined
    return { sandbox, account, region }
  } catch (thrown) {
    if (thrown instanceof errors.JOSEError) return undefined
    throw thrown
  }
}
