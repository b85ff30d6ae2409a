/** The keys that sign data-plane tokens: their public halves for everybody, their list and rotation for the operator. */

import type { SigningKeyList } from '@portico/shared/api'
import type { Call } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'

/** `GET /.well-known/jwks.json`: RFC 7517, at most some seconds old. */
export async function publishedKeys({ objects, services }: Call<'public'>): Promise<Response> {
  const keys = await services.tokenKeys.published(objects)
  return Response.json({ keys }, { headers: { 'cache-control': 'public, max-age=10' } })
}

/** `GET /admin/signing-keys` */
export async function listSigningKeys({ objects }: Call<'admin'>): Promise<Response> {
  const keys = unwrap(await reach('list the signing keys', objects.keyring().list()))
  return Response.json({ keys: [...keys] } satisfies SigningKeyList)
}

/** `POST /admin/signing-keys/rotate` */
export async function rotateSigningKeys({ objects }: Call<'admin'>): Promise<Response> {
  const keys = unwrap(await reach('rotate the signing keys', objects.keyring().rotate()))
  return Response.json({ keys: [...keys] } satisfies SigningKeyList)
}
