/** The whole surface on one screen: path, methods, who may enter, what body is taken, who handles it. */

import { execRequest, updateRequest } from '@portico/shared/api'
import { createAccount, createKey, listAccounts, listKeys, revokeKey } from './accounts.ts'
import { keyRequest, nameRequest, runnerRequest } from './admin-requests.ts'
import { exec } from './exec.ts'
import { download, list, upload } from './files.ts'
import { health } from './health.ts'
import { images } from './images.ts'
import { change, json, none, type Row, row, stream } from './row.ts'
import { createRunner, listRunners, tunnel } from './runners.ts'
import { createRun, destroyRun, listRuns, readRun, runRequest, updateRun } from './runs.ts'

export const table: readonly Row[] = [
  row({ path: '/healthz', methods: ['GET'], access: 'public', body: none, handle: health }),

  row({ path: '/v1/images', methods: ['GET'], access: 'key', body: none, handle: images }),
  row({ path: '/v1/runs', methods: ['GET'], access: 'key', body: none, handle: listRuns }),
  change({ path: '/v1/runs', methods: ['POST'], access: 'key', body: json(runRequest), handle: createRun }),
  row({ path: '/v1/runs/:id', methods: ['GET'], access: 'key', body: none, handle: readRun }),
  change({ path: '/v1/runs/:id', methods: ['PATCH'], access: 'key', body: json(updateRequest), handle: updateRun }),
  change({ path: '/v1/runs/:id', methods: ['DELETE'], access: 'key', body: none, handle: destroyRun }),
  row({ path: '/v1/runs/:id/exec', methods: ['POST'], access: 'key', body: json(execRequest), handle: exec }),
  row({ path: '/v1/runs/:id/files', methods: ['GET'], access: 'key', body: none, handle: list }),
  row({ path: '/v1/runs/:id/files/download', methods: ['GET'], access: 'key', body: none, handle: download }),
  row({ path: '/v1/runs/:id/files/upload', methods: ['POST', 'PUT'], access: 'key', body: stream, handle: upload }),

  change({ path: '/v1/runner/tunnel', methods: ['GET'], access: 'runner', body: none, handle: tunnel }),

  row({ path: '/admin/accounts', methods: ['GET'], access: 'admin', body: none, handle: listAccounts }),
  change({
    path: '/admin/accounts',
    methods: ['POST'],
    access: 'admin',
    body: json(nameRequest),
    handle: createAccount,
  }),
  row({ path: '/admin/accounts/:id/keys', methods: ['GET'], access: 'admin', body: none, handle: listKeys }),
  change({
    path: '/admin/accounts/:id/keys',
    methods: ['POST'],
    access: 'admin',
    body: json(keyRequest),
    handle: createKey,
  }),
  change({
    path: '/admin/accounts/:id/keys/:key',
    methods: ['DELETE'],
    access: 'admin',
    body: none,
    handle: revokeKey,
  }),
  row({ path: '/admin/runners', methods: ['GET'], access: 'admin', body: none, handle: listRunners }),
  change({
    path: '/admin/runners',
    methods: ['POST'],
    access: 'admin',
    body: json(runnerRequest),
    handle: createRunner,
  }),
]
