/** The whole surface on one screen: path, methods, who may enter, what body is taken, who handles it. */

import { execRequest, forkRequest, restoreRequest, updateRequest, webhookRequest } from '@portico/shared/api'
import { createAccount, createKey, listAccounts, listKeys, readAccount, revokeKey, setLimits } from './accounts.ts'
import { drainRequest, keyRequest, limitsRequest, nameRequest, runnerRequest } from './admin-requests.ts'
import { readAudit, readAuditKey } from './audit.ts'
import { deleteSnapshot, forkRun, listSnapshots, restoreRun, snapshotRun } from './copies.ts'
import { exec } from './exec.ts'
import { download, list, upload } from './files.ts'
import { health } from './health.ts'
import { readAccountUsage, readHistory } from './history.ts'
import { images } from './images.ts'
import { change, json, jsonOrNothing, none, type Row, row, stream } from './row.ts'
import { createRunner, drainRunner, listRunners, readRunner, removeRunner, tunnel, undrainRunner } from './runners.ts'
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
import { createWebhook, deleteWebhook, listDeliveries, listWebhooks, readWebhook } from './webhooks.ts'

export const table: readonly Row[] = [
  row({ path: '/healthz', methods: ['GET'], access: 'public', needs: null, body: none, handle: health }),

  row({ path: '/v1/images', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: images }),
  row({ path: '/v1/runs', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: listRuns }),
  change({
    path: '/v1/runs',
    methods: ['POST'],
    access: 'key',
    needs: 'manage',
    body: json(runRequest),
    handle: createRun,
  }),
  change({
    path: '/v1/runs/restore',
    methods: ['POST'],
    access: 'key',
    needs: 'manage',
    body: json(restoreRequest),
    handle: restoreRun,
  }),
  row({
    path: '/v1/runs/history',
    methods: ['GET'],
    access: 'key',
    needs: 'read',
    body: none,
    handle: readHistory,
  }),
  row({ path: '/v1/runs/:id', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: readRun }),
  change({
    path: '/v1/runs/:id',
    methods: ['PATCH'],
    access: 'key',
    needs: 'manage',
    body: json(updateRequest),
    handle: updateRun,
  }),
  change({ path: '/v1/runs/:id', methods: ['DELETE'], access: 'key', needs: 'manage', body: none, handle: destroyRun }),
  change({
    path: '/v1/runs/:id/fork',
    methods: ['POST'],
    access: 'key',
    needs: 'manage',
    body: jsonOrNothing(forkRequest),
    handle: forkRun,
  }),
  change({
    path: '/v1/runs/:id/snapshot',
    methods: ['POST'],
    access: 'key',
    needs: 'manage',
    body: none,
    handle: snapshotRun,
  }),
  change({
    path: '/v1/runs/:id/hibernate',
    methods: ['POST'],
    access: 'key',
    needs: 'manage',
    body: none,
    handle: hibernateRun,
  }),
  change({
    path: '/v1/runs/:id/resume',
    methods: ['POST'],
    access: 'key',
    needs: 'manage',
    body: none,
    handle: resumeRun,
  }),
  row({ path: '/v1/runs/:id/usage', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: readUsage }),
  row({
    path: '/v1/runs/:id/exec',
    methods: ['POST'],
    access: 'key',
    needs: 'use',
    body: json(execRequest),
    handle: exec,
  }),
  row({ path: '/v1/runs/:id/files', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: list }),
  row({
    path: '/v1/runs/:id/files/download',
    methods: ['GET'],
    access: 'key',
    needs: 'read',
    body: none,
    handle: download,
  }),
  row({
    path: '/v1/runs/:id/files/upload',
    methods: ['POST', 'PUT'],
    access: 'key',
    needs: 'use',
    body: stream,
    handle: upload,
  }),

  row({ path: '/v1/snapshots', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: listSnapshots }),
  change({
    path: '/v1/snapshots/:snapshot',
    methods: ['DELETE'],
    access: 'key',
    needs: 'manage',
    body: none,
    handle: deleteSnapshot,
  }),

  row({ path: '/v1/runs/:id/audit', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: readAudit }),
  row({ path: '/v1/audit/key', methods: ['GET'], access: 'key', needs: 'manage', body: none, handle: readAuditKey }),
  row({ path: '/v1/usage', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: readAccountUsage }),

  row({ path: '/v1/webhooks', methods: ['GET'], access: 'key', needs: 'read', body: none, handle: listWebhooks }),
  change({
    path: '/v1/webhooks',
    methods: ['POST'],
    access: 'key',
    needs: 'manage',
    body: json(webhookRequest),
    handle: createWebhook,
  }),
  row({
    path: '/v1/webhooks/:webhook',
    methods: ['GET'],
    access: 'key',
    needs: 'read',
    body: none,
    handle: readWebhook,
  }),
  change({
    path: '/v1/webhooks/:webhook',
    methods: ['DELETE'],
    access: 'key',
    needs: 'manage',
    body: none,
    handle: deleteWebhook,
  }),
  row({
    path: '/v1/webhooks/:webhook/deliveries',
    methods: ['GET'],
    access: 'key',
    needs: 'read',
    body: none,
    handle: listDeliveries,
  }),

  change({ path: '/v1/runner/tunnel', methods: ['GET'], access: 'runner', needs: null, body: none, handle: tunnel }),

  row({ path: '/admin/accounts', methods: ['GET'], access: 'admin', needs: null, body: none, handle: listAccounts }),
  change({
    path: '/admin/accounts',
    methods: ['POST'],
    access: 'admin',
    needs: null,
    body: json(nameRequest),
    handle: createAccount,
  }),
  row({
    path: '/admin/accounts/:id',
    methods: ['GET'],
    access: 'admin',
    needs: null,
    body: none,
    handle: readAccount,
  }),
  change({
    path: '/admin/accounts/:id/limits',
    methods: ['PUT'],
    access: 'admin',
    needs: null,
    body: json(limitsRequest),
    handle: setLimits,
  }),
  row({
    path: '/admin/accounts/:id/keys',
    methods: ['GET'],
    access: 'admin',
    needs: null,
    body: none,
    handle: listKeys,
  }),
  change({
    path: '/admin/accounts/:id/keys',
    methods: ['POST'],
    access: 'admin',
    needs: null,
    body: json(keyRequest),
    handle: createKey,
  }),
  change({
    path: '/admin/accounts/:id/keys/:key',
    methods: ['DELETE'],
    access: 'admin',
    needs: null,
    body: none,
    handle: revokeKey,
  }),
  row({ path: '/admin/runners', methods: ['GET'], access: 'admin', needs: null, body: none, handle: listRunners }),
  change({
    path: '/admin/runners',
    methods: ['POST'],
    access: 'admin',
    needs: null,
    body: json(runnerRequest),
    handle: createRunner,
  }),
  row({ path: '/admin/runners/:id', methods: ['GET'], access: 'admin', needs: null, body: none, handle: readRunner }),
  change({
    path: '/admin/runners/:id',
    methods: ['DELETE'],
    access: 'admin',
    needs: null,
    body: none,
    handle: removeRunner,
  }),
  change({
    path: '/admin/runners/:id/drain',
    methods: ['POST'],
    access: 'admin',
    needs: null,
    body: jsonOrNothing(drainRequest),
    handle: drainRunner,
  }),
  change({
    path: '/admin/runners/:id/undrain',
    methods: ['POST'],
    access: 'admin',
    needs: null,
    body: none,
    handle: undrainRunner,
  }),
]
