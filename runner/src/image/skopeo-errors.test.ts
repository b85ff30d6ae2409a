import { expect, test } from 'vitest'
import { skopeoError } from './skopeo-errors.ts'

test.each([
  ['reading manifest 2 in host/app: manifest unknown: manifest unknown', 'image_missing'],
  ['reading manifest 1 in docker.io/x/y: requested access to the resource is denied', 'image_denied'],
  ['reading manifest 1 in host/app: name unknown: repository name not known to registry', 'image_missing'],
  ['reading manifest 1 in host/app: unauthorized: authentication required', 'image_denied'],
  ['Requesting bear token: invalid status code from registry 403 (Forbidden)', 'image_denied'],
  ['unable to retrieve auth token: invalid username/password: unauthorized', 'image_denied'],
  ['reading manifest: received unexpected HTTP status: 503 Service Unavailable', 'image_pull_failed'],
  ['fetching target platform image: StatusCode: 404, <html>', 'image_missing'],
  ['Error determining manifest: StatusCode: 401', 'image_denied'],
  ['toomanyrequests: You have reached your pull rate limit', 'image_pull_failed'],
  [
    'pinging container registry host: Get "https://host/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    'image_pull_failed',
  ],
  ['Get "https://host/v2/": dial tcp: lookup host: no such host', 'image_pull_failed'],
  ['Get "https://host/v2/": http: server gave HTTP response to HTTPS client', 'image_pull_failed'],
  ['Get "https://host/v2/": x509: certificate signed by unknown authority', 'image_pull_failed'],
  ['writing blob: happened during read: Digest did not match, expected sha256:1, got sha256:2', 'image_unsuitable'],
  ['copying system image: reading blob sha256:1: fetching blob: blob unknown to registry', 'image_unsuitable'],
  [
    'writing blob: storing blob to file "/work/download/x": write /work/download/x: no space left on device',
    'image_no_space',
  ],
  ['something that nobody has seen', 'image_pull_failed'],
])('%s is %s', (words, code) => {
  const error = skopeoError(`time="…" level=fatal msg="${words}"\n`, 'host/app:1')
  expect(error).toMatchObject({ code, message: expect.stringMatching(/^cannot pull host\/app:1: /) })
  expect(error.message).not.toContain(words)
})
