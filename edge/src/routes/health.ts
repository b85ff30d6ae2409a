/** `GET /healthz`: the front door answers. */

export function health(): Response {
  return Response.json({ status: 'ok' })
}
