/** The whole surface on one screen: path, methods, who may enter, what body is taken, who handles it. */

import { execRequest, forkRequest, restoreRequest, updateRequest } from '@portico/shared/api'
import { createAccount, createKey, listAccounts, listKeys, revokeKey } from './accounts.ts'
import { keyRequest, nameRequest, runnerRequest } from './admin-requests.ts'
import { deleteSnapshot, forkRun, listSnapshots, restoreRun, snapshotRun } from './copies.ts'
import { exec } from './exec.ts'
import { download, list, upload } from './files.ts'
import { health } from './health.ts'
import { images } from './images.ts'
import { change, json, jsonOrNothing, none, type Row, row, stream } from './row.ts'
import { createRunner, listRunners, tunnel } from './runners.ts'
import {
  createRun,
  destroyRun,
  hibernateRun,
  listRuns,
  readRun,
  readUsage,
  resumeRun,
  runRequest,
  updateRun,
} from './runs.ts'

export const table: readonly Row[] = [
  row({ path: '/healthz', methods: ['GET'], access: 'public', body: none, handle: health }),

  row({ path: '/v1/images', methods: ['GET'], access: 'key', body: none, handle: images }),
  row({ path: '/v1/runs', methods: ['GET'], access: 'key', body: none, handle: listRuns }),
  change({ path: '/v1/runs', methods: ['POST'], access: 'key', body: json(runRequest), handle: createRun }),
  change({
    path: '/v1/runs/restore',
    methods: ['POST'],
    access: 'key',
    body: json(restoreRequest),
    handle: restoreRun,
  }),
  row({ path: '/v1/runs/:id', methods: ['GET'], access: 'key', body: none, handle: readRun }),
  change({ path: '/v1/runs/:id', methods: ['PATCH'], access: 'key', body: json(updateRequest), handle: updateRun }),
  change({ path: '/v1/runs/:id', methods: ['DELETE'], access: 'key', body: none, handle: destroyRun }),
  change({
    path: '/v1/runs/:id/fork',
    methods: ['POST'],
    access: 'key',
    body: jsonOrNothing(forkRequest),
    handle: forkRun,
  }),
  change({ path: '/v1/runs/:id/snapshot', methods: ['POST'], access: 'key', body: none, handle: snapshotRun }),
  change({ path: '/v1/runs/:id/hibernate', methods: ['POST'], access: 'key', body: none, handle: hibernateRun }),
  change({ path: '/v1/runs/:id/resume', methods: ['POST'], access: 'key', body: none, handle: resumeRun }),
  row({ path: '/v1/runs/:id/usage', methods: ['GET'], access: 'key', body: none, handle: readUsage }),
  row({ path: '/v1/runs/:id/exec', methods: ['POST'], access: 'key', body: json(execRequest), handle: exec }),
  row({ path: '/v1/runs/:id/files', methods: ['GET'], access: 'key', body: none, handle: list }),
  row({ path: '/v1/runs/:id/files/download', methods: ['GET'], access: 'key', body: none, handle: download }),
  row({ path: '/v1/runs/:id/files/upload', methods: ['POST', 'PUT'], access: 'key', body: stream, handle: upload }),

  row({ path: '/v1/snapshots', methods: ['GET'], access: 'key', body: none, handle: listSnapshots }),
  change({ path: '/v1/snapshots/:snapshot', methods: ['DELETE'], access: 'key', body: none, handle: deleteSnapshot }),

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
